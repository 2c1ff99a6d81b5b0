import pytest

from imgfs.errors import StoreError
from imgfs.registry.proxies import proxy_for

PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
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
