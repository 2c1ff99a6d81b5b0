import base64
import logging
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from imgfs.errors import StoreError
from imgfs.registry.client import RegistryClient
from imgfs.registry.configuration import Configuration
from imgfs.registry.proxies import proxy_for
from imgfs.registry.reference import Repository
from imgfs.registry.transport import Limits

PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", "/dev/null")
    monkeypatch.setenv("https_proxy", PROXY)
    monkeypatch.setenv("no_proxy", "inner.example, one.example:5000,10.0.0.0/8,fd00::/8,192.0.2.1")


@pytest.mark.parametrize(
    ("host", "is_direct"),
    [
        ("r.example", False),
        ("r.example:5000", False),
        ("inner.example", True),
        ("a.inner.example:5000", True),
        ("one.example:5000", True),
        ("one.example", False),
        ("10.1.2.3:5000", True),
        ("11.1.2.3", False),
        ("192.0.2.1", True),
        ("[fd00::1]:5000", True),
        ("[fe80::1]:5000", False),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("[::1]:5000", True),
    ],
)
def test_exceptions_are_as_in_podman(host: str, is_direct: bool) -> None:
    assert proxy_for(f"https://{host}/v2/") == (None if is_direct else PROXY)


def test_each_scheme_has_a_proxy_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for("http://r.example/v2/") is None
    monkeypatch.setenv("http_proxy", "other.example:8080")
    assert proxy_for("http://r.example/v2/") == "http://other.example:8080"
    monkeypatch.setenv("no_proxy", "*")
    assert proxy_for("http://r.example/v2/") is None


def test_a_proxy_of_another_kind_is_an_error_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://me:secret@proxy.example")
    with pytest.raises(StoreError, match="HTTPS_PROXY: socks5:// is not supported") as raised:
        proxy_for("https://r.example/")
    assert "secret" not in str(raised.value)


class Proxy(ThreadingHTTPServer):
    """A proxy that itself answers what is asked through it, and makes no tunnels."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.path, self.headers.get("Proxy-Authorization", "")))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        super().__init__(("127.0.0.1", 0), Handler)


def test_requests_go_through_the_proxy_with_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy() as proxy:
        serving = Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://me:s%40cret@127.0.0.1:{proxy.server_port}")
        client = RegistryClient(Configuration.load(tls_verify=False), limits=Limits(pause=0.01))
        assert list(client.repository(Repository("r.example", "x")).tags()) == []
        client.close()
        proxy.shutdown()
        serving.join()
    me = f"Basic {base64.b64encode(b'me:s@cret').decode()}"
    assert proxy.asked == [
        ("http://r.example/v2/", me),
        ("http://r.example/v2/x/tags/list?n=1000", me),
    ]


def test_a_proxy_that_is_away_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("https_proxy", "http://me:secret@127.0.0.1:1")
    client = RegistryClient(Configuration.load(tls_verify=True), limits=Limits(pause=0.01, attempts=2))
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(StoreError, match=r"^docker://r\.example/x: its proxy: Connection refused$") as raised,
    ):
        list(client.repository(Repository("r.example", "x")).tags())
    assert "secret" not in str(raised.value) + caplog.text
