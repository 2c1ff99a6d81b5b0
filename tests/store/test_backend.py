"""What every store backend does, run against each of them."""

import hashlib
import os

import pytest

from imgfs.digest import ImageID
from imgfs.errors import MetadataNotFound, NotFound, StoreError
from imgfs.store import MAX_CONFIG_SIZE, StoreBackend

ABSENT = ImageID.of(b"absent")


@pytest.mark.parametrize("data", [b"foobar", os.urandom(8192), bytes(MAX_CONFIG_SIZE)])
def test_what_is_set_is_got_back_by_its_sha256(backend: StoreBackend, data: bytes) -> None:
    image_id = backend.set(data)
    assert image_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert backend.get(image_id) == data


def test_setting_again_changes_nothing(backend: StoreBackend) -> None:
    image_id = backend.set(b"foo", {"key": b"value"})
    assert backend.set(b"foo") == image_id
    assert backend.walk() == [image_id]
    assert backend.get_metadata(image_id, "key") == b"value"


def test_setting_again_with_metadata_adds_and_replaces_values(backend: StoreBackend) -> None:
    image_id = backend.set(b"foo", {"kept": b"1", "replaced": b"2"})
    backend.set(b"foo", {"replaced": b"3", "added": b"4"})
    values = {key: backend.get_metadata(image_id, key) for key in ("kept", "replaced", "added")}
    assert values == {"kept": b"1", "replaced": b"3", "added": b"4"}


def test_empty_data_is_refused(backend: StoreBackend) -> None:
    with pytest.raises(StoreError, match="invalid empty data"):
        backend.set(b"")


def test_data_over_the_limit_is_refused(backend: StoreBackend) -> None:
    with pytest.raises(StoreError, match="4194305 bytes are too many"):
        backend.set(bytes(MAX_CONFIG_SIZE + 1))
    assert backend.walk() == []


@pytest.mark.parametrize(
    "key", [ABSENT, "foobar:abc", "sha256:abc", f"{ABSENT}a", "sha256:" + "../" * 21 + "a", "", "sha256"]
)
def test_getting_an_unknown_or_malformed_digest_fails_by_name(backend: StoreBackend, key: str) -> None:
    with pytest.raises(NotFound, match="failed to get digest") as caught:
        backend.get(key)  # type: ignore[arg-type]
    assert key in str(caught.value)


def test_walking_finds_every_id_sorted(backend: StoreBackend) -> None:
    image_ids = [backend.set(b"%d" % number) for number in range(20)]
    assert backend.walk() == sorted(image_ids)


def test_deleting_removes_content_and_metadata(backend: StoreBackend) -> None:
    first, second = backend.set(b"foo", {"key": b"value"}), backend.set(b"bar")
    backend.delete(first)
    with pytest.raises(NotFound, match="failed to get digest"):
        backend.get(first)
    assert backend.get(second) == b"bar"
    assert backend.walk() == [second]


def test_metadata_does_not_outlive_its_image(backend: StoreBackend) -> None:
    image_id = backend.set(b"foo", {"key": b"value"})
    backend.delete(image_id)
    backend.set(b"foo")
    with pytest.raises(MetadataNotFound):
        backend.get_metadata(image_id, "key")


def test_deleting_what_is_unknown_fails_by_name(backend: StoreBackend) -> None:
    with pytest.raises(NotFound, match=f"failed to get digest {ABSENT}"):
        backend.delete(ABSENT)


def test_metadata_is_kept_by_image_and_key(backend: StoreBackend) -> None:
    foo, bar = backend.set(b"foo"), backend.set(b"bar")
    values = {(foo, "tkey"): b"tval1", (foo, "tkey2"): b"tval2", (bar, "tkey"): b"tval3"}
    for (image_id, key), value in values.items():
        backend.set_metadata(image_id, key, value)
    assert {place: backend.get_metadata(*place) for place in values} == values
    with pytest.raises(MetadataNotFound, match=f"failed to read metadata tkey2 of {bar}"):
        backend.get_metadata(bar, "tkey2")


def test_setting_metadata_replaces_it(backend: StoreBackend) -> None:
    image_id = backend.set(b"foo", {"key": b"a longer value"})
    backend.set_metadata(image_id, "key", b"short")
    assert backend.get_metadata(image_id, "key") == b"short"


def test_deleted_metadata_is_gone_and_deleting_it_again_does_nothing(backend: StoreBackend) -> None:
    image_id = backend.set(b"foo", {"key": b"value"})
    for _ in range(2):
        backend.delete_metadata(image_id, "key")
        with pytest.raises(MetadataNotFound):
            backend.get_metadata(image_id, "key")
    backend.delete_metadata(ABSENT, "key")


def test_metadata_of_an_unknown_image_is_refused(backend: StoreBackend) -> None:
    with pytest.raises(NotFound, match=f"failed to get digest {ABSENT}"):
        backend.set_metadata(ABSENT, "key", b"value")
    with pytest.raises(NotFound, match=f"failed to get digest {ABSENT}"):
        backend.get_metadata(ABSENT, "key")


@pytest.mark.parametrize(
    "key", ["", ".", "..", "../parent", "a/b", "/etc/passwd", ".hidden", "a\0b", "key\n"]
)
def test_a_key_that_is_no_plain_name_is_refused_everywhere(backend: StoreBackend, key: str) -> None:
    image_id = backend.set(b"foo")
    with pytest.raises(StoreError, match="is no name for metadata"):
        backend.set_metadata(image_id, key, b"value")
    with pytest.raises(StoreError, match="is no name for metadata"):
        backend.get_metadata(image_id, key)
    with pytest.raises(StoreError, match="is no name for metadata"):
        backend.delete_metadata(image_id, key)
    with pytest.raises(StoreError, match="is no name for metadata"):
        backend.set(b"bar", {key: b"value"})
    assert backend.walk() == [image_id]
