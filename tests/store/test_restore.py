"""A store opened on what is there already, some of it damaged, and followed while others change it."""

import os
from collections import Counter
from pathlib import Path

import pytest

from imgfs.digest import ImageID
from imgfs.errors import (
    Corrupt,
    LayerNotFound,
    MetadataNotFound,
    StoreError,
)
from imgfs.store import FSBackend, ImageStore, MemoryBackend, StoreBackend
from tests.store.stores import ABSENT, BOTTOM, MIDDLE, TOP, Layers, config, family


def test_a_store_is_the_same_when_it_is_opened_again(backend: StoreBackend) -> None:
    layers = Layers([BOTTOM, MIDDLE, TOP])
    store = ImageStore(backend, layers)
    base, child, grandchild = family(store)
    store.set_last_updated(child)
    again = ImageStore(backend, Layers([BOTTOM, MIDDLE, TOP]))
    assert again.map() == store.map()
    assert list(again.heads()) == [grandchild]
    assert again.children(base) == [child]
    assert again.search(child.hex[:20]) == child
    assert again.get_last_updated(child) == store.get_last_updated(child)
    with again.get_tar_seek_stream(grandchild) as stream:
        assert stream.read() == BOTTOM + MIDDLE + TOP


def test_damaged_entries_are_left_out_and_named_and_the_rest_is_there(
    tmp_path: Path, layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FSBackend(tmp_path)
    store = ImageStore(backend, layers)
    base, child, grandchild = family(store)
    (tmp_path / "content/sha256" / base.hex).write_bytes(config("tampered with", [BOTTOM]))
    noise = [backend.set(data) for data in (b"no JSON", b"{}", b'{"rootfs": {"diff_ids": ["x"]}}')]
    (tmp_path / "metadata/sha256" / grandchild.hex / "parent").write_bytes(b"sha256:nonsense")
    fresh = Layers([BOTTOM, MIDDLE, TOP])
    restored = ImageStore(backend, fresh)
    assert list(restored.map()) == sorted([child, grandchild])
    assert restored.get_parent(child) == base  # as recorded, though it cannot be read
    with pytest.raises(MetadataNotFound):
        restored.get_parent(grandchild)
    for image_id, problem in zip(
        [base, *noise, grandchild],
        ["failed to verify", "does not parse", "no RootFS key", "diff ID", "its parent is not readable"],
        strict=True,
    ):
        (line,) = [record.getMessage() for record in caplog.records if image_id in record.getMessage()]
        assert problem in line
        assert line in restored.problems
    count = len(caplog.records)
    restored.refresh()
    restored.map()
    assert len(caplog.records) == len(restored.problems) == count
    with pytest.raises(Corrupt, match="failed to verify"):
        restored.get(base)
    restored.close()
    assert fresh.references() == {}


def test_what_was_repaired_is_no_problem_any_more(tmp_path: Path, layers: Layers) -> None:
    backend = FSBackend(tmp_path)
    image_id = backend.set(config())
    (tmp_path / "content/sha256" / image_id.hex).write_bytes(b"tampered with")
    store = ImageStore(backend, layers)
    assert len(store.problems) == 1
    backend.set(config())
    assert store.refresh()
    assert not store.problems


def test_an_image_without_its_layers_is_there_but_its_tar_is_not(
    backend: StoreBackend, caplog: pytest.LogCaptureFixture
) -> None:
    image_id = ImageStore(backend, Layers([BOTTOM])).create(config(layers=[BOTTOM]))
    layers = Layers()
    store = ImageStore(backend, layers)
    assert store.get(image_id).raw_config == config(layers=[BOTTOM])
    assert store.known_tar_size(image_id) is None
    with pytest.raises(LayerNotFound):
        store.get_tar_seek_stream(image_id)
    assert [record.getMessage() for record in caplog.records if image_id in record.getMessage()]
    layers.add([BOTTOM])  # they come later
    assert store.refresh()
    with store.get_tar_seek_stream(image_id) as stream:
        assert stream.read() == BOTTOM


def test_creating_an_image_whose_layers_were_missing_takes_them(backend: StoreBackend) -> None:
    data = config(layers=[BOTTOM])
    image_id = ImageStore(backend, Layers([BOTTOM])).create(data)
    layers = Layers()
    store = ImageStore(backend, layers)
    with pytest.raises(LayerNotFound):
        store.create(data)
    assert image_id in store
    layers.add([BOTTOM])
    assert store.create(data) == image_id
    assert list(layers.references().values()) == [1]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_of_parents_in_a_ring_one_is_ignored(
    backend: StoreBackend, caplog: pytest.LogCaptureFixture, length: int
) -> None:
    ring = [backend.set(config(str(number))) for number in range(length)]
    for image_id, parent in zip(ring, [*ring[1:], ring[0]], strict=True):
        backend.set_metadata(image_id, "parent", parent.encode())
    tail = backend.set(config("tail"), {"parent": ring[0].encode()})
    store = ImageStore(backend, Layers())
    assert len(store) == length + 1
    with pytest.raises(MetadataNotFound):
        store.get_parent(min(ring))
    for image_id, parent in zip(ring, [*ring[1:], ring[0]], strict=True):
        if image_id != min(ring):
            assert store.get_parent(image_id) == parent
    assert store.get_parent(tail) == ring[0]
    assert tail in store.heads()
    assert sum("ignoring its parent" in record.getMessage() for record in caplog.records) == 1


def test_a_recorded_parent_that_is_not_there_is_told_and_has_no_children(backend: StoreBackend) -> None:
    image_id = backend.set(config(), {"parent": ABSENT.encode()})
    store = ImageStore(backend, Layers())
    assert store.get_parent(image_id) == ABSENT
    assert store.children(ABSENT) == []
    assert list(store.heads()) == [image_id]


def test_refreshing_follows_what_another_store_does(backend: StoreBackend) -> None:
    mine, theirs = Layers([BOTTOM, MIDDLE, TOP]), Layers([BOTTOM, MIDDLE, TOP])
    store, other = ImageStore(backend, mine), ImageStore(backend, theirs)
    assert not store.refresh()
    base, child, grandchild = family(other)
    assert len(store) == 0
    assert store.refresh()
    assert not store.refresh()
    assert store.map() == other.map()
    other.set_parent(grandchild, base)
    assert store.refresh()
    assert store.children(base) == sorted([child, grandchild])
    for image_id in (base, child, grandchild):
        other.delete(image_id)
    assert store.refresh()
    assert (len(store), store.map(), mine.references()) == (0, {}, {})


def test_a_backend_that_cannot_be_walked_leaves_what_was_known(tmp_path: Path, layers: Layers) -> None:
    store = ImageStore(FSBackend(tmp_path / "imagedb"), layers)
    image_id = store.create(config(layers=[BOTTOM]))
    os.rename(tmp_path / "imagedb", tmp_path / "away")
    with pytest.raises(StoreError, match="failed to walk storage backend"):
        store.refresh()
    assert image_id in store
    os.rename(tmp_path / "away", tmp_path / "imagedb")
    assert not store.refresh()


class _Counting(MemoryBackend):
    """Counts what is read of each config."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[ImageID] = Counter()

    def get(self, image_id: ImageID) -> bytes:
        self.reads[image_id] += 1
        return super().get(image_id)


def test_every_config_is_read_once_and_what_did_not_change_is_not_read_again(layers: Layers) -> None:
    backend = _Counting()
    images = family(ImageStore(backend, layers))
    backend.reads.clear()
    store = ImageStore(backend, layers)
    known = store.map()
    assert backend.reads == dict.fromkeys(images, 1)
    new = backend.set(config("new", [BOTTOM]))
    assert store.refresh()
    assert list(store.map(known)) == sorted([*images, new])
    assert backend.reads == dict.fromkeys([*images, new], 1)
    store.map()
    assert backend.reads == dict.fromkeys(images, 2) | {new: 2}


def test_only_what_has_metadata_is_asked_for_its_parent(
    tmp_path: Path, layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = FSBackend(tmp_path)
    base, child, grandchild = family(ImageStore(backend, layers))
    asked = []
    get_metadata = FSBackend.get_metadata

    def counted(self: FSBackend, image_id: ImageID, key: str) -> bytes:
        asked.append(image_id)
        return get_metadata(self, image_id, key)

    monkeypatch.setattr(FSBackend, "get_metadata", counted)
    store = ImageStore(backend, layers)
    assert (store.get_parent(child), store.get_parent(grandchild)) == (base, child)
    assert sorted(asked) == sorted([child, grandchild])
