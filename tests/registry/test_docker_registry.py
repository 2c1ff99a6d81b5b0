"""The client against the registry of the distribution project."""

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgfs.cache.cache import Cache
from imgfs.digest import Digest
from imgfs.errors import NotFound
from imgfs.registry.client import RegistryClient, RemoteRepository
from imgfs.registry.configuration import Configuration
from imgfs.registry.reference import Repository
from imgfs.registry.transport import RegistryError
from tests.registry.serving import docker_registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SMALL, LARGE = random.Random(1).randbytes(10_000), random.Random(2).randbytes(12 << 20)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def push(repository: RemoteRepository, data: bytes) -> dict[str, object]:
    digest = Digest.of(data)
    begun = repository.request("POST", "blobs/uploads/", ok=(202,))
    begun.read()
    place = begun.headers["Location"]
    joint = "&" if "?" in place else "?"
    repository.request("PUT", f"{place}{joint}digest={digest}", body=data, ok=(201,)).read()
    return {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[RegistryClient]:
    client = RegistryClient(
        Configuration.load(tls_verify=False), cache=Cache(str(tmp_path / "cache"), 1 << 30)
    )
    yield client
    client.close()


@pytest.fixture
def repository(client: RegistryClient, address: str) -> RemoteRepository:
    repository = client.repository(Repository(address, "some/app"))
    layers = [push(repository, SMALL), push(repository, LARGE)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": push(repository, b"{}"),
        "layers": layers,
    }
    data = json.dumps(manifest).encode()
    for tag in ("1", "2"):
        repository.request(
            "PUT", f"manifests/{tag}", body=data, ok=(201,), headers={"Content-Type": MANIFEST}
        ).read()
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
        found = hashlib.sha256()
        position = 0
        while data := blob.pread(128 << 10, position):
            found.update(data)
            position += len(data)
    assert found.digest() == hashlib.sha256(LARGE).digest()
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
