"""Several backends read as one."""

import pytest

from imgfs.digest import ImageID
from imgfs.errors import MetadataNotFound, NotFound, StoreError
from imgfs.store import JoinedBackend, MemoryBackend, StoreBackend


@pytest.fixture
def parts() -> list[StoreBackend]:
    first, second = MemoryBackend(), MemoryBackend()
    first.set(b"one", {"key": b"first"})
    second.set(b"one", {"key": b"second", "more": b"more"})
    second.set(b"two")
    return [first, second]


def test_it_has_what_any_has_and_reads_it_from_the_first(parts: list[StoreBackend]) -> None:
    backend = JoinedBackend(parts)
    one, two = ImageID.of(b"one"), ImageID.of(b"two")
    assert backend.walk() == sorted([one, two])
    assert (backend.get(one), backend.get(two)) == (b"one", b"two")
    assert (backend.get_metadata(one, "key"), backend.get_metadata(one, "more")) == (b"first", b"more")
    with pytest.raises(MetadataNotFound):
        backend.get_metadata(two, "key")


@pytest.mark.parametrize("count", [0, 2])
def test_what_none_has_is_not_found(parts: list[StoreBackend], count: int) -> None:
    backend = JoinedBackend(parts[:count])
    with pytest.raises(NotFound, match="failed to get digest"):
        backend.get(ImageID.of(b"absent"))
    with pytest.raises(NotFound):
        backend.get_metadata(ImageID.of(b"absent"), "key")


def test_nothing_is_written(parts: list[StoreBackend]) -> None:
    backend = JoinedBackend(parts)
    one = ImageID.of(b"one")
    for write in (
        lambda: backend.set(b"three"),
        lambda: backend.delete(one),
        lambda: backend.set_metadata(one, "key", b"other"),
        lambda: backend.delete_metadata(one, "key"),
    ):
        with pytest.raises(StoreError, match="only read"):
            write()
    assert len(backend.walk()) == 2
    assert backend.get_metadata(one, "key") == b"first"
