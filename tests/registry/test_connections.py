"""Registries, proxies and others that are slow without end: every read ends, and one that goes on is not ended."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from imgfs.digest import Digest
from imgfs.registry.account import Credentials
from imgfs.registry.client import RegistryClient, RemoteRepository
from imgfs.registry.configuration import Configuration
from imgfs.registry.connections import time_left, time_limit
from imgfs.registry.credentials import CredentialStore
from imgfs.registry.reference import Repository
from imgfs.registry.registries_conf import RegistriesConf
from imgfs.registry.transport import Limits, Unreachable
from tests.registry.quirky import SECRET, Quirky, running_quirky
from tests.registry.serving import certificates

USUAL = Limits(pause=0.01)
SHORT = Limits(connect=0.15, idle=0.15, pause=0.01, patience=0.4)
LONGEST = 5.0  # seconds; far more than SHORT allows, as the machine may be busy
DATA = bytes(range(256)) * (2 << 12)
BLOB = Digest.of(DATA)


def new_client(limits: Limits) -> RegistryClient:
    me = Credentials("me", SECRET)
    return RegistryClient(
        Configuration(RegistriesConf(), CredentialStore([]), tls_verify=False, creds=me), limits=limits
    )


def read_blob(repository: RemoteRepository) -> None:
    with repository.blob(BLOB, len(DATA)) as blob:
        assert blob.pread(1 << 20, 4096) == DATA[4096 : 4096 + (1 << 20)]


def read_tags(repository: RemoteRepository) -> None:
    list(repository.tags())


def read_referrers(repository: RemoteRepository) -> None:
    repository.referrers(BLOB, "a/b")


def read_manifest(repository: RemoteRepository) -> None:
    repository.manifest("1")


@pytest.fixture(scope="module")
def registry() -> Iterator[Quirky]:
    with running_quirky() as registry:
        registry.blob(DATA)
        yield registry


@pytest.mark.parametrize(
    ("slow", "path", "read"),
    [
        ("nothing", "/blobs/", read_blob),
        ("headers", "/blobs/", read_blob),
        ("continue", "/blobs/", read_blob),
        ("line", "/blobs/", read_blob),
        ("body", "/blobs/", read_blob),
        ("headers", "/v2/$", read_blob),
        ("continue", "/token", read_blob),
        ("body", "/token", read_blob),
        ("headers", "signature=", read_blob),
        ("body", "/manifests/", read_manifest),
        ("headers", "/tags/list", read_tags),
        ("body", "/tags/list", read_tags),
        ("continue", "/referrers/", read_referrers),
        ("body", "/referrers/", read_referrers),
    ],
)
def test_a_read_ends_whatever_is_slow(
    registry: Quirky, slow: str, path: str, read: Callable[[RemoteRepository], None]
) -> None:
    faults = registry.faults = type(registry.faults)(auth="bearer", referrers="api")
    faults.redirect = "storage" if path == "signature=" else ""
    registry.manifest("app", "1", b'{"layers": [], "config": {"mediaType": "x"}}', "application/json")
    client = new_client(USUAL)
    repository = client.repository(Repository(registry.address, "app"))
    if path == "/blobs/":
        read(repository)
    client.limits = client._transport.limits = SHORT
    faults.slow, faults.slow_path = slow, path
    registry.take()
    started = time.monotonic()
    with pytest.raises(Unreachable, match=f"^docker://{registry.address}/app.*in time$") as raised:
        read(repository)
    assert time.monotonic() - started < LONGEST
    assert "\n" not in str(raised.value)
    assert any(path.rstrip("$") in seen.path and seen.sent < 1000 for seen in registry.take())
    client.close()


@pytest.mark.parametrize("path", ["/v2/$", "/token"])
def test_threads_wait_for_one_outcome(registry: Quirky, path: str) -> None:
    registry.faults = type(registry.faults)(auth="bearer", slow="nothing", slow_path=path)
    client = new_client(Limits(connect=0.5, idle=0.5, pause=0.01, patience=1, attempts=1))
    repository = client.repository(Repository(registry.address, "app"))
    registry.take()
    started = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        reads = [pool.submit(read_manifest, repository) for _ in range(16)]
    assert all(isinstance(read.exception(), Unreachable) for read in reads)
    assert time.monotonic() - started < LONGEST  # one after another, they take twice that
    client.close()


def test_a_slow_line_is_read_to_its_end(registry: Quirky) -> None:
    registry.faults = type(registry.faults)(slow="pieces", slow_path="/blobs/")
    client = new_client(Limits(idle=0.5, patience=0.5, attempts=1, slowest=16 << 10))
    started = time.monotonic()
    read_blob(client.repository(Repository(registry.address, "app")))
    assert time.monotonic() - started > 1  # which is longer than `idle` and `patience`
    assert sum("/blobs/" in seen.path for seen in registry.take()) == 1
    client.close()


def test_a_slow_line_that_breaks_again_and_again_is_read_to_its_end(registry: Quirky) -> None:
    registry.faults = type(registry.faults)(slow="pieces", slow_path="/blobs/", cut=2)
    client = new_client(Limits(pause=0.01, patience=0.2, attempts=1, slowest=16 << 10))
    registry.take()
    read_blob(client.repository(Repository(registry.address, "app")))
    assert sum("/blobs/" in seen.path for seen in registry.take()) == 3
    client.close()


def test_what_the_reader_does_meanwhile_is_not_the_registrys(registry: Quirky) -> None:
    registry.faults = type(registry.faults)()
    client = new_client(USUAL)
    response = client.repository(Repository(registry.address, "app")).request("GET", f"blobs/{BLOB}")
    client.limits = client._transport.limits = SHORT
    pieces = []
    for piece in response.chunks(len(DATA)):
        pieces.append(piece)
        if len(pieces) == 2:
            time.sleep(2 * SHORT.idle)
    assert b"".join(pieces) == DATA
    client.close()


Behaviour = Callable[[socket.socket], None]


@contextmanager
def listening(behave: Behaviour) -> Iterator[str]:
    """A server that does nothing but what `behave` does with each connection; its `HOST:PORT`."""

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            behave(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def trickle(connection: socket.socket, first: bytes, rest: bytes) -> None:
    """Send what comes `first`, and then the `rest` again and again."""
    connection.sendall(first)
    while True:
        connection.sendall(rest)
        time.sleep(0.02)


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def slow_handshake(connection: socket.socket) -> None:
    trickle(connection, b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\x00")


def slow_tunnel(connection: socket.socket) -> None:
    trickle(connection, b"HTTP/1.1 200 OK\r\n", b"X-Proxy: slow\r\n")


def silent_tunnel(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    silent(connection)


@pytest.fixture(scope="module")
def of_server(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    made = certificates(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    return context


def verified_client(limits: Limits) -> RegistryClient:
    return RegistryClient(Configuration(RegistriesConf(), CredentialStore([])), limits=limits)


@pytest.mark.parametrize("behave", [silent, slow_handshake])
def test_a_handshake_that_stalls_is_an_error(behave: Behaviour) -> None:
    with listening(behave) as address:
        client = verified_client(SHORT)
        started = time.monotonic()
        with pytest.raises(Unreachable, match=f"^docker://{address}/app:1: it does not answer in time$"):
            client.repository(Repository(address, "app")).manifest("1")
        assert time.monotonic() - started < LONGEST


@pytest.mark.parametrize("behave", [silent, slow_tunnel, silent_tunnel])
def test_a_proxy_that_stalls_is_an_error(monkeypatch: pytest.MonkeyPatch, behave: Behaviour) -> None:
    with listening(behave) as address:
        monkeypatch.setenv("https_proxy", f"http://{address}")
        started = time.monotonic()
        with pytest.raises(Unreachable, match=r"^docker://r\.example/app:1: .*in time$"):
            verified_client(SHORT).repository(Repository("r.example", "app")).manifest("1")
        assert time.monotonic() - started < LONGEST


def test_tls_inside_of_a_proxys_tls_that_stalls_is_an_error(
    monkeypatch: pytest.MonkeyPatch, of_server: ssl.SSLContext, tmp_path: Path
) -> None:
    def behave(connection: socket.socket) -> None:
        with of_server.wrap_socket(connection, server_side=True) as inner:
            inner.recv(4096)
            inner.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            slow_handshake(inner)

    monkeypatch.setattr(
        "imgfs.registry.transport.tls_context", lambda *_, **__: ssl._create_unverified_context()
    )
    with listening(behave) as address:
        monkeypatch.setenv("https_proxy", f"https://{address}")
        started = time.monotonic()
        with pytest.raises(Unreachable, match=r"in time$"):
            verified_client(SHORT).repository(Repository("r.example", "app")).manifest("1")
        assert time.monotonic() - started < LONGEST


def test_a_host_that_takes_no_connections_is_an_error() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with socket.create_connection(server.getsockname()):  # the queue is full then
            started = time.monotonic()
            with pytest.raises(Unreachable, match="it does not answer in time"):
                verified_client(SHORT).repository(Repository(address, "app")).manifest("1")
            assert time.monotonic() - started < LONGEST


def test_time_limits_nest() -> None:
    assert time_left() > 1e9
    with time_limit(10):
        with time_limit(100):
            assert 9 < time_left() <= 10
        with time_limit(1):
            assert time_left() <= 1
        assert time_left() > 9
    assert time_left() > 1e9
