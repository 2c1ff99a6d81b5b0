"""The client against the registry of the distribution project: of each Debian, and as it is set up in practice."""

import hashlib
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from imgfs.cache.cache import Cache
from imgfs.digest import Digest
from imgfs.errors import NotFound
from imgfs.registry.client import RegistryClient, RemoteRepository
from imgfs.registry.configuration import Configuration
from imgfs.registry.reference import Repository
from imgfs.registry.transport import Limits, RegistryError
from tests.engines.machine import HOST, SUITES, machine
from tests.registry.filling import insecure
from tests.registry.serving import certificates, docker_registry, free_port, htpasswd

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SMALL, LARGE = random.Random(1).randbytes(10_000), random.Random(2).randbytes(12 << 20)


@pytest.fixture(scope="module", params=SUITES)
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    if request.param == HOST:
        with docker_registry(folder) as address:
            yield address
        return
    with machine(request.param) as inside:
        with docker_registry(folder, command=inside.line("docker-registry")) as address:
            yield address


def push(repository: RemoteRepository, data: bytes) -> dict[str, object]:
    digest = Digest.of(data)
    begun = repository.request("POST", "blobs/uploads/", ok=(202,))
    begun.read()
    place = begun.headers["Location"]
    joint = "&" if "?" in place else "?"
    repository.request("PUT", f"{place}{joint}digest={digest}", body=data, ok=(201,)).read()
    return {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}


def push_image(repository: RemoteRepository, *tags: str) -> None:
    layers = [push(repository, SMALL), push(repository, LARGE)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": push(repository, b"{}"),
        "layers": layers,
    }
    headers = {"Content-Type": MANIFEST}
    for tag in tags:
        put = repository.request(
            "PUT", f"manifests/{tag}", body=json.dumps(manifest).encode(), ok=(201,), headers=headers
        )
        put.read()


def read_all(repository: RemoteRepository) -> bytes:
    found = hashlib.sha256()
    with repository.blob(Digest.of(LARGE), len(LARGE)) as blob:
        position = 0
        while data := blob.pread(128 << 10, position):
            found.update(data)
            position += len(data)
    return found.digest()


RIGHT = hashlib.sha256(LARGE).digest()


def client_of(
    folder: Path, configuration: Configuration | None = None, limits: Limits | None = None
) -> RegistryClient:
    known = configuration or Configuration.load(tls_verify=False)
    return RegistryClient(known, cache=Cache(str(folder / "cache"), 1 << 30), limits=limits)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[RegistryClient]:
    client = client_of(tmp_path)
    yield client
    client.close()


@pytest.fixture
def repository(client: RegistryClient, address: str) -> RemoteRepository:
    repository = client.repository(Repository(address, "some/app"))
    push_image(repository, "1", "2")
    return repository


def test_manifests_are_found_by_tag_and_by_digest(
    repository: RemoteRepository, client: RegistryClient
) -> None:
    manifest = repository.manifest("1")
    assert manifest.media_type == MANIFEST
    assert repository.manifest(manifest.digest) == manifest
    assert repository.head("2") == manifest.digest
    assert sorted(repository.tags()) == ["1", "2"]
    assert "some/app" in client.catalog(repository.name.host)
    assert repository.referrers(manifest.digest, "application/x") == []


def test_a_blob_is_read_at_random_and_in_order(repository: RemoteRepository, client: RegistryClient) -> None:
    before = client.stats.total("bytes")
    with repository.blob(Digest.of(LARGE), len(LARGE)) as blob:
        assert blob.pread(1000, 5_000_000) == LARGE[5_000_000:5_001_000]
        assert blob.pread(1000, len(LARGE) - 10) == LARGE[-10:]
        assert client.stats.total("bytes") - before == 1010
    assert read_all(repository) == RIGHT
    assert client.stats.total("bytes") - before < 1.1 * len(LARGE)


def test_a_small_blob_is_fetched_once_and_kept(repository: RemoteRepository, client: RegistryClient) -> None:
    for _ in range(2):
        with repository.blob(Digest.of(SMALL), len(SMALL)) as blob:
            assert blob.pread(100, 50) == SMALL[50:150]
    blobs = client.stats.as_dict()["blobs"]
    assert isinstance(blobs, dict)
    assert blobs[Digest.of(SMALL)] == {"requests": 1, "bytes": len(SMALL)}


def test_what_is_not_there_is_an_error_that_names_it(repository: RemoteRepository) -> None:
    absent = Digest.of(b"absent")
    with pytest.raises(NotFound) as tag:
        repository.manifest("nope")
    assert str(tag.value) == f"docker://{repository.name}:nope: it is not there (manifest unknown)"
    with pytest.raises(NotFound):
        repository.manifest(absent)
    with repository.blob(absent, 5_000_000) as blob, pytest.raises(RegistryError) as raised:
        blob.pread(10, 10)
    assert str(raised.value).startswith(f"docker://{repository.name}: blob {absent}: it is not there")


def test_a_certificate_is_trusted_by_the_authority_in_certs_d(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificates(tmp_path / "tls")
    http = {"tls": {"certificate": str(made.certificate), "key": str(made.key)}}
    monkeypatch.setenv("HOME", str(tmp_path))
    with docker_registry(tmp_path / "registry", http=http) as address:
        name = Repository(address, "some/app")
        stranger = client_of(tmp_path, Configuration.load(), Limits(pause=0.01))
        with pytest.raises(RegistryError, match="its certificate is not trusted"):
            stranger.repository(name).manifest("1")
        trusted = tmp_path / ".config/containers/certs.d" / address
        trusted.mkdir(parents=True)
        (trusted / "ca.crt").write_bytes(made.authority.read_bytes())
        for configuration in (Configuration.load(), Configuration.load(tls_verify=False)):
            client = client_of(tmp_path, configuration)
            push_image(client.repository(name), "1")
            assert read_all(client.repository(name)) == RIGHT
            client.close()


def test_a_name_and_a_password_are_read_from_an_auth_file(tmp_path: Path) -> None:
    auth = htpasswd(tmp_path / "htpasswd", "me", "geheim")
    with docker_registry(tmp_path / "registry", auth=auth) as address:
        name = Repository(address, "some/app")
        path = tmp_path / "auth.json"
        for password, is_right in (("geheim", True), ("wrong", False)):
            path.write_text(json.dumps({"auths": {address: {"username": "me", "password": password}}}))
            client = client_of(tmp_path, Configuration.load(authfile=str(path), tls_verify=False))
            if is_right:
                push_image(client.repository(name), "1")
                assert read_all(client.repository(name)) == RIGHT
            else:
                with pytest.raises(RegistryError, match="it refuses the credentials") as raised:
                    client.repository(name).manifest("1")
                assert password not in str(raised.value)
            client.close()
        with pytest.raises(RegistryError, match="wants a name and a password, and none is known"):
            client_of(tmp_path).repository(name).manifest("1")


def test_an_address_of_version_6_is_reached(tmp_path: Path, client: RegistryClient) -> None:
    with docker_registry(tmp_path / "registry", "::1") as address:
        repository = client.repository(Repository(address, "some/app"))
        push_image(repository, "1")
        assert read_all(repository) == RIGHT


@contextmanager
def proxied(address: str, before: str) -> Iterator[str]:
    """A reverse proxy of a registry: `/v2/` is asked for at `BEFORE/v2/`, and other paths as they are."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = f"{before}{self.path}" if self.path.startswith("/v2/") else self.path
            connection = HTTPConnection(address)
            # with the name of the proxy as the host, by which the registry makes addresses
            connection.request(self.command, path, body, dict(self.headers))
            response = connection.getresponse()
            data = response.read()
            self.send_response(response.status)
            for name, value in response.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
            connection.close()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = forward  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_registry_below_a_path_is_reached_through_a_proxy_at_the_root(
    tmp_path: Path, client: RegistryClient
) -> None:
    """As skopeo and podman have it, whose registries.conf names repositories below a path, and no API there."""
    with docker_registry(tmp_path / "below", http={"prefix": "/foo/"}) as address:
        with proxied(address, "/foo") as root:
            through = client.repository(Repository(root, "app"))
            push_image(through, "1")  # which follows addresses with the prefix
            assert read_all(through) == RIGHT
            assert list(through.tags()) == ["1"]
        for path in ("app", "foo/app"):
            with pytest.raises(NotFound, match=f"^docker://{address}/{path}:1: it is not there"):
                client.repository(Repository(address, path)).manifest("1")


def test_a_mirror_is_asked_first_and_the_registry_where_it_lacks_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: RegistryClient
) -> None:
    with docker_registry(tmp_path / "mirror") as mirror, docker_registry(tmp_path / "primary") as primary:
        push_image(client.repository(Repository(primary, "some/app")), "1")
        conf = insecure(tmp_path, mirror, primary)
        text = f'[[registry.mirror]]\nlocation = "{mirror}"\ninsecure = true\n'
        conf.write_text(f'[[registry]]\nlocation = "{primary}"\ninsecure = true\n{text}')
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
        for is_there in (False, True):
            if is_there:
                push_image(client.repository(Repository(mirror, "some/app")), "1")
            mirrored = client_of(tmp_path, Configuration.load())
            repository = mirrored.repository(Repository(primary, "some/app"))
            assert repository.manifest("1").media_type == MANIFEST
            assert read_all(repository) == RIGHT
            hosts = mirrored.stats.as_dict()["hosts"]
            assert isinstance(hosts, dict)
            assert (primary in hosts) is not is_there
            assert mirror in hosts
            mirrored.close()


def test_a_registry_that_is_killed_and_comes_back_is_read_on(tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "registry"
    client = client_of(tmp_path, limits=Limits(pause=0.2, idle=5))
    repository = client.repository(Repository(f"127.0.0.1:{port}", "some/app"))
    with docker_registry(folder, port=port):
        push_image(repository, "1")
    back, done = threading.Event(), threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            with docker_registry(folder, port=port):
                back.set()
                done.wait(0.4)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        back.wait(10)
        deadline = time.monotonic() + 60
        # it may come between two reads
        while not client.stats.total("retries") and time.monotonic() < deadline:
            assert read_all(repository) == RIGHT
    finally:
        done.set()
        thread.join()
    assert client.stats.total("retries") > 0
    client.close()
