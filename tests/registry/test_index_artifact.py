import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgfs.cache.cache import Cache
from imgfs.digest import Digest
from imgfs.errors import Corrupt, InvalidImage
from imgfs.registry.client import MANIFEST_TYPES, Manifest, RegistryClient, RemoteRepository, referrers_tag
from imgfs.registry.configuration import Configuration
from imgfs.registry.index_artifact import (
    TYPE,
    Part,
    blobs_of,
    find_index,
    index_manifest,
    own_tag,
    parse_index,
    pinned_in,
    pinned_manifest,
    read_index,
)
from imgfs.registry.index_push import push_index
from imgfs.registry.reference import Repository
from imgfs.registry.transport import RegistryError
from tests.registry.quirky import Faults, running_quirky
from tests.registry.test_docker_registry import address, push

__all__ = ["address"]

LAYER, OTHER = Digest.of(b"layer"), Digest.of(b"other")
PARTS = [
    Part(LAYER, "map", b"small map"),
    Part(LAYER, "members", bytes(range(256)) * 100),
    Part(OTHER, "map", b"another"),
]


@pytest.fixture
def repository(tmp_path: Path, address: str, request: pytest.FixtureRequest) -> Iterator[RemoteRepository]:
    client = RegistryClient(
        Configuration.load(tls_verify=False), cache=Cache(str(tmp_path / "cache"), 1 << 30)
    )
    yield client.repository(Repository(address, f"index/{abs(hash(request.node.name))}"))
    client.close()


def put_manifest(
    repository: RemoteRepository, reference: str, data: bytes, kind: str = MANIFEST_TYPES[1]
) -> None:
    headers = {"Content-Type": kind}
    repository.request("PUT", f"manifests/{reference}", body=data, ok=(201,), headers=headers).read()


@pytest.fixture
def image(repository: RemoteRepository) -> Manifest:
    config = push(repository, b"{}")
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPES[1], "config": config, "layers": []}
    put_manifest(repository, "1", json.dumps(document).encode())
    return repository.manifest("1")


def pushed(repository: RemoteRepository, image: Manifest, reference: str) -> Digest:
    for data in blobs_of(PARTS).values():
        push(repository, data)
    manifest = index_manifest(image, PARTS, "imgfs 1")
    put_manifest(repository, reference, manifest)
    return Digest.of(manifest)


def test_an_index_is_found_by_its_own_tag(repository: RemoteRepository, image: Manifest) -> None:
    assert find_index(repository, image.digest) is None
    digest = pushed(repository, image, own_tag(image.digest))
    found = find_index(repository, image.digest)
    assert found is not None
    assert found.digest == digest
    assert found.read(LAYER, "map") == b"small map"
    assert found.read(LAYER, "members") == PARTS[1].data
    assert found.read(OTHER, "map") == b"another"
    assert found.read(OTHER, "members") is None
    assert found.open(OTHER, "members") is None
    for kind, data in (("map", b"small map"), ("members", PARTS[1].data)):
        blob = found.open(LAYER, kind)
        assert blob is not None
        with blob:
            assert blob.pread(blob.size, 0) == data


def test_an_index_is_pushed_so_that_it_is_found_and_pushed_again_as_the_same(
    repository: RemoteRepository, image: Manifest
) -> None:
    sent: list[int] = []
    digest = push_index(repository, image, PARTS, "imgfs 1", sent.append)
    assert sum(sent) == sum(len(part.data) for part in PARTS)
    found = find_index(repository, image.digest)
    assert found is not None
    assert found.digest == digest
    assert repository.manifest(own_tag(image.digest)).digest == digest
    (listed,) = repository.tagged_referrers(image.digest)
    assert (listed["digest"], listed["artifactType"]) == (digest, TYPE)
    sent.clear()
    assert push_index(repository, image, PARTS, "imgfs 1", sent.append) == digest
    assert not sent
    other = push_index(repository, image, PARTS, "imgfs 2", sent.append)
    assert [each["digest"] for each in repository.tagged_referrers(image.digest)] == [digest, other]


@pytest.mark.parametrize(
    ("faults", "has_tag"), [(Faults(refuses_subject=True), True), (Faults(referrers="api"), False)]
)
def test_an_index_is_found_where_no_subject_is_taken_and_where_referrers_are_listed(
    image: Manifest, faults: Faults, has_tag: bool
) -> None:
    with running_quirky() as quirky:
        quirky.faults = faults
        there = RegistryClient(Configuration.load(tls_verify=False)).repository(
            Repository(quirky.address, "app")
        )
        digest = push_index(there, image, PARTS, "imgfs 1", lambda _: None)
        found = find_index(there, image.digest)
        assert found is not None
        assert found.digest == digest
        assert quirky.tags("app") == ([own_tag(image.digest)] if has_tag else [])


def test_a_registry_that_takes_no_artifacts_is_an_error_with_a_hint(image: Manifest) -> None:
    with running_quirky() as quirky:
        quirky.faults.refuses_artifacts = True
        there = RegistryClient(Configuration.load(tls_verify=False)).repository(
            Repository(quirky.address, "app")
        )
        with pytest.raises(RegistryError, match=r"takes no artifacts of this type; --index-repo HOST/REPO"):
            push_index(there, image, PARTS, "imgfs 1", lambda _: None)


def test_an_index_is_found_by_the_tag_of_referrers(repository: RemoteRepository, image: Manifest) -> None:
    digest = pushed(repository, image, "any")
    listed = {"mediaType": MANIFEST_TYPES[1], "digest": digest, "artifactType": TYPE}
    size = len(repository.manifest(digest).data)
    index = {"schemaVersion": 2, "mediaType": MANIFEST_TYPES[0], "manifests": [listed | {"size": size}]}
    put_manifest(repository, referrers_tag(image.digest), json.dumps(index).encode(), MANIFEST_TYPES[0])
    found = find_index(repository, image.digest)
    assert found is not None
    assert found.digest == digest


def test_an_index_of_another_image_is_none_of_this(repository: RemoteRepository, image: Manifest) -> None:
    pushed(repository, image, own_tag(OTHER))
    assert find_index(repository, OTHER) is None
    digest = pushed(repository, image, "any")
    assert read_index(repository, digest).digest == digest
    assert parse_index(repository, repository.manifest(digest), OTHER) is None
    with pytest.raises(InvalidImage, match="not an index of an image"):
        read_index(repository, image.digest)


def test_an_index_is_the_same_bytes_each_time_and_has_a_subject_or_none(image: Manifest) -> None:
    assert index_manifest(image, PARTS, "imgfs 1") == index_manifest(image, PARTS, "imgfs 1")
    with_subject = json.loads(index_manifest(image, PARTS, "imgfs 1"))
    assert with_subject["subject"]["digest"] == image.digest
    assert with_subject["config"]["mediaType"] == with_subject["artifactType"] == TYPE
    assert "subject" not in json.loads(index_manifest(image, PARTS, "imgfs 1", refers=False))


def test_embedded_bytes_that_are_others_are_fetched_instead(
    repository: RemoteRepository, image: Manifest
) -> None:
    for data in blobs_of(PARTS).values():
        push(repository, data)
    document = json.loads(index_manifest(image, PARTS, "imgfs 1"))
    document["layers"][0]["data"] = "AAAA"
    document["layers"][2]["data"] = "no base64 !"
    data = json.dumps(document).encode()
    artifact = parse_index(repository, Manifest(Digest.of(data), MANIFEST_TYPES[1], data), image.digest)
    assert artifact is not None
    assert artifact.read(LAYER, "map") == b"small map"
    assert artifact.read(OTHER, "map") == b"another"


def test_a_part_that_is_too_large_is_refused(repository: RemoteRepository, image: Manifest) -> None:
    document = json.loads(index_manifest(image, PARTS, "imgfs 1"))
    document["layers"][1]["size"] = 1 << 40
    data = json.dumps(document).encode()
    artifact = parse_index(repository, Manifest(Digest.of(data), MANIFEST_TYPES[1], data), image.digest)
    assert artifact is not None
    with pytest.raises(Corrupt, match="too many"):
        artifact.read(LAYER, "members")


def test_a_manifest_pins_an_index_or_none() -> None:
    manifest = b'{"schemaVersion":2,"annotations":{"a":"b"},"layers":[]}'
    pinned = pinned_manifest(manifest, OTHER)
    assert pinned_in(pinned) == OTHER
    assert json.loads(pinned)["annotations"]["a"] == "b"
    assert pinned_in(manifest) is None
    assert pinned_in(pinned.replace(OTHER.encode(), b"latest")) is None
    assert pinned_in(pinned + b"}") is None
