"""What the image store does, on each backend where that can matter."""

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from imgfs.digest import ChainID, ImageID
from imgfs.errors import (
    AmbiguousID,
    ImageNotFound,
    ImgfsError,
    InvalidImage,
    LayerNotFound,
    MetadataNotFound,
    NotFound,
    StoreError,
)
from imgfs.layers import Layer, LayerMetadata, LayerProvider
from imgfs.store import ImageStore, MemoryBackend, Platform, StoreBackend
from tests.store.stores import ABSENT, BOTTOM, MIDDLE, TOP, Layers, config, family


def test_an_image_is_known_by_the_sha256_of_its_config(store: ImageStore) -> None:
    data = config("an image", [BOTTOM], os="linux", architecture="arm", variant="v7", author="me")
    image_id = store.create(data)
    assert image_id == ImageID.of(data)
    image = store.get(image_id)
    assert (image.id, image.raw_config, image.parent) == (image_id, data, None)
    assert (image.comment, image.author) == ("an image", "me")
    assert str(image.platform) == "linux/arm/v7"
    assert image_id in store
    assert (len(store), list(store.map())) == (1, [image_id])


def test_creating_again_changes_nothing_and_takes_no_layer_twice(store: ImageStore, layers: Layers) -> None:
    base = store.create(config("base", [BOTTOM]))
    child = store.create(config("child", [BOTTOM, MIDDLE]), parent=base)
    store.set_last_updated(child)
    references, updated = layers.references(), store.get_last_updated(child)
    assert store.create(config("child", [BOTTOM, MIDDLE])) == child
    assert (layers.references(), len(store)) == (references, 2)
    assert (store.get_parent(child), store.get_last_updated(child)) == (base, updated)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "does not parse"),
        (b"{", "does not parse"),
        (b"[]", "does not parse"),
        (b'"text"', "does not parse"),
        (b'{"created":' + b"[" * 100_000, "nested too deeply"),
        (b'{"rootfs": {"diff_ids": [1]}}', "does not parse"),
        (b"{}", "invalid image JSON, no RootFS key"),
        (b'{"rootfs": null}', "invalid image JSON, no RootFS key"),
        (config(layers=[BOTTOM], history=[{}, {}]), "too many non-empty layers in History section"),
        (b'{"rootfs": {"diff_ids": ["../../etc"]}}', "diff ID: invalid digest"),
        (bytes(5 << 20), "too many for a config"),
        (config(layers=[BOTTOM] * 1001), "more layers or steps"),
        (config(layers=[BOTTOM], history=[{"empty_layer": True}] * 10_001), "more layers or steps"),
    ],
)
def test_a_config_that_makes_no_image_is_refused_and_nothing_is_kept(
    store: ImageStore, backend: StoreBackend, layers: Layers, data: bytes, problem: str
) -> None:
    with pytest.raises(InvalidImage, match=problem):
        store.create(data)
    assert (len(store), backend.walk(), layers.references()) == (0, [], {})


def test_history_may_tell_of_steps_that_made_no_layer(store: ImageStore) -> None:
    history = [{"created_by": "add"}, {"empty_layer": True}, {"empty_layer": True}]
    image_id = store.create(config(layers=[BOTTOM], history=history))
    assert [entry.empty_layer for entry in store.get(image_id).history] == [None, True, True]


def test_an_image_whose_layer_is_not_there_is_refused_and_nothing_is_kept(
    store: ImageStore, backend: StoreBackend, layers: Layers
) -> None:
    for stack in ([b"unknown"], [BOTTOM, b"unknown"], [TOP]):
        with pytest.raises(LayerNotFound):
            store.create(config(layers=stack))
    assert (len(store), backend.walk(), layers.references()) == (0, [], {})


def test_another_platforms_image_is_refused_if_a_platform_is_given(layers: Layers) -> None:
    backend = MemoryBackend()
    store = ImageStore(backend, layers, platform="linux/amd64")
    with pytest.raises(InvalidImage, match="is for windows/amd64, not for linux/amd64"):
        store.create(config(layers=[BOTTOM], os="windows", architecture="amd64"))
    assert (backend.walk(), layers.references()) == ([], {})
    store.create(config("same", os="linux", architecture="amd64"))
    store.create(config("does not say"))
    assert len(ImageStore(backend, layers, Platform("windows"))) == 2  # what is there already is shown


def test_a_parent_can_be_given_when_creating(store: ImageStore, backend: StoreBackend) -> None:
    base, child, grandchild = family(store)
    assert store.get_parent(grandchild) == store.get(grandchild).parent == child
    assert backend.get_metadata(child, "parent") == base.encode()


def test_an_unknown_parent_is_refused_and_nothing_is_kept(
    store: ImageStore, backend: StoreBackend, layers: Layers
) -> None:
    with pytest.raises(NotFound, match=f"unknown parent image ID {ABSENT}"):
        store.create(config(layers=[BOTTOM]), parent=ABSENT)
    assert (len(store), backend.walk(), layers.references()) == (0, [], {})


def test_nobody_can_become_their_own_ancestor(store: ImageStore) -> None:
    base, child, grandchild = family(store)
    for image_id, parent in ((base, base), (base, child), (base, grandchild), (child, grandchild)):
        with pytest.raises(InvalidImage, match="which is based on it"):
            store.set_parent(image_id, parent)
    with pytest.raises(InvalidImage, match="which is based on it"):
        store.create(config("base", [BOTTOM]), parent=grandchild)
    assert store.children(base) == [child]
    with pytest.raises(MetadataNotFound):
        store.get_parent(base)


def test_a_parent_knows_its_children_only(store: ImageStore) -> None:
    base, child, grandchild = family(store)
    sibling = store.create(config("sibling"), parent=base)
    assert store.children(base) == sorted([child, sibling])
    assert store.children(child) == [grandchild]
    assert store.children(grandchild) == store.children(ABSENT) == []


def test_setting_a_parent_moves_the_child_from_its_old_one(store: ImageStore, backend: StoreBackend) -> None:
    base, child, grandchild = family(store)
    store.set_parent(grandchild, base)
    assert store.children(child) == []
    assert store.children(base) == sorted([child, grandchild])
    assert (
        store.get_parent(grandchild) == ImageID(backend.get_metadata(grandchild, "parent").decode()) == base
    )


def test_only_images_that_are_there_can_be_parent_or_child(store: ImageStore) -> None:
    base = store.create(config("base"))
    with pytest.raises(NotFound, match=f"unknown parent image ID {ABSENT}"):
        store.set_parent(base, ABSENT)
    with pytest.raises(ImageNotFound, match=f"No such image: {ABSENT}"):
        store.set_parent(ABSENT, base)
    with pytest.raises(MetadataNotFound, match=f"failed to read metadata parent of {base}"):
        store.get_parent(base)


def test_heads_are_the_images_nobody_is_based_on(store: ImageStore) -> None:
    base, child, grandchild = family(store)
    alone = store.create(config("alone"))
    assert list(store.heads()) == sorted([grandchild, alone])
    assert list(store.map()) == sorted([base, child, grandchild, alone])
    store.delete(grandchild)
    assert list(store.heads()) == sorted([child, alone])


def test_searching_takes_unique_prefixes_with_and_without_the_algorithm(store: ImageStore) -> None:
    image_ids = [store.create(config(str(number))) for number in range(40)]
    for image_id in image_ids:
        length = next(n for n in range(65) if sum(i.hex.startswith(image_id.hex[:n]) for i in image_ids) == 1)
        for term in (image_id.hex[:length], f"sha256:{image_id.hex[:length]}", image_id, image_id.hex):
            assert store.search(term) == image_id
        with pytest.raises(AmbiguousID):
            store.search(image_id.hex[: length - 1])
    with pytest.raises(ImageNotFound, match="No such image: nonesuch"):
        store.search("nonesuch")


def test_a_deleted_image_is_gone_and_its_layers_are_told(
    store: ImageStore, backend: StoreBackend, layers: Layers
) -> None:
    _, child, grandchild = family(store)
    (freed,) = store.delete(grandchild)
    assert (freed.chain_id, freed.size) == (layers.add([BOTTOM, MIDDLE, TOP])[2], len(TOP))
    assert grandchild not in store
    assert store.children(child) == []
    assert grandchild not in backend.walk()
    for use in (store.get, store.delete, store.search, store.get_tar_seek_stream, store.known_tar_size):
        with pytest.raises(NotFound):
            use(grandchild)


def test_deleting_a_parent_leaves_its_children_without_one(
    store: ImageStore, backend: StoreBackend, layers: Layers
) -> None:
    base, child, grandchild = family(store)
    assert store.delete(base) == []  # the child's layers lie on top of it
    for image_id in (child, ABSENT):
        with pytest.raises(MetadataNotFound):
            store.get_parent(image_id)
    with pytest.raises(MetadataNotFound):
        backend.get_metadata(child, "parent")
    assert store.get_parent(grandchild) == child
    assert store.get(child).parent is None
    assert [freed.diff_id for freed in [*store.delete(child), *store.delete(grandchild)]] == [
        layer.diff_id for layer in reversed(layers.table.values())
    ]
    assert layers.references() == {}


def test_deleting_what_is_not_there_is_an_error(store: ImageStore) -> None:
    with pytest.raises(ImageNotFound, match=f"No such image: {ABSENT}"):
        store.delete(ABSENT)


def test_what_somebody_else_deleted_already_can_be_deleted(
    store: ImageStore, backend: StoreBackend, layers: Layers
) -> None:
    image_id = store.create(config(layers=[BOTTOM]))
    backend.delete(image_id)
    assert len(store.delete(image_id)) == 1
    assert (len(store), layers.references()) == (0, {})


def test_when_an_image_was_updated_is_recorded(store: ImageStore, backend: StoreBackend) -> None:
    image_id = store.create(config())
    assert store.get_last_updated(image_id) is None
    before = datetime.now(UTC)
    store.set_last_updated(image_id)
    updated = store.get_last_updated(image_id)
    assert updated is not None
    assert before <= updated <= before + timedelta(seconds=60)
    backend.set_metadata(image_id, "lastUpdated", b"2024-01-02T03:04:05.678901234Z")  # as moby writes it
    assert store.get_last_updated(image_id) == datetime(2024, 1, 2, 3, 4, 5, 678901, UTC)
    backend.set_metadata(image_id, "lastUpdated", b"\xff junk")
    assert store.get_last_updated(image_id) is None
    with pytest.raises(NotFound):
        store.set_last_updated(ABSENT)


class Refusing(MemoryBackend):
    """A backend whose disk is full once `full` says so."""

    full = False

    def set(self, *arguments: object) -> ImageID:
        if self.full:
            raise StoreError("failed to write digest data: No space left on device")
        return super().set(*arguments)  # type: ignore[arg-type]

    def set_metadata(self, *arguments: object) -> None:
        if self.full:
            raise StoreError("failed to write metadata: No space left on device")
        super().set_metadata(*arguments)  # type: ignore[arg-type]

    def delete_metadata(self, *arguments: object) -> None:
        if self.full:
            raise StoreError("failed to delete metadata: Input/output error")
        super().delete_metadata(*arguments)  # type: ignore[arg-type]


def test_if_the_config_cannot_be_written_no_layer_is_held(layers: Layers) -> None:
    backend = Refusing()
    store = ImageStore(backend, layers)
    base, child, grandchild = family(store)
    references = layers.references()
    backend.full = True
    with pytest.raises(StoreError, match="No space left"):
        store.create(config("new", [BOTTOM, MIDDLE]), parent=base)
    with pytest.raises(StoreError, match="No space left"):
        store.create(config("child", [BOTTOM, MIDDLE]), parent=base)
    with pytest.raises(StoreError, match="No space left"):
        store.set_parent(grandchild, base)
    assert (layers.references(), len(store), store.get_parent(grandchild)) == (references, 3, child)


def test_an_image_whose_children_cannot_be_told_is_deleted_for_all_that(
    layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Refusing()
    store = ImageStore(backend, layers)
    base, child, _ = family(store)
    backend.full = True
    store.delete(base)
    assert base not in store
    with pytest.raises(MetadataNotFound):
        store.get_parent(child)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"image {child}: its deleted parent stays recorded: ")


def test_no_errors_but_our_own_come_from_configs_that_lie(store: ImageStore) -> None:
    """Every field of a wrong type, one at a time."""
    sound = json.loads(config("c", [BOTTOM], os="linux", created="2024-01-02T03:04:05Z", history=[{}]))
    sound["config"] = {"Cmd": ["sh"], "Env": ["A=B"], "Labels": {"a": "b"}}
    for key in sound:
        wrong: list[object] = [None, 5, "text", [], {}, [{}], [[]], {"a": []}, True]
        for value in wrong:
            data = json.dumps(sound | {key: value}).encode()
            try:
                image = store.get(store.create(data))
            except ImgfsError:
                continue
            assert image.raw_config == data


def test_damage_is_not_shouted_about_when_all_is_well(
    store: ImageStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        family(store)
        store.refresh()
    assert caplog.records == []


def test_mapping_reads_only_the_configs_that_are_not_known(store: ImageStore, backend: StoreBackend) -> None:
    known_id, new_id = store.create(config("known")), store.create(config("new"))
    known = {known_id: store.get(known_id)}
    backend.delete(new_id)  # so that reading it would show
    backend.delete(known_id)
    assert store.map(known) == known


def test_a_known_image_is_mapped_with_the_parent_it_has_now(store: ImageStore) -> None:
    parent, child = store.create(config("parent")), store.create(config("child"))
    known = store.map()
    store.set_parent(child, parent)
    assert store.map(known)[child].parent == parent


class _OnlyGetAndRelease:
    """What moby's image store asks of its layers, and no more."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers

    def get(self, chain_id: ChainID) -> Layer:
        return self._layers.get(chain_id)

    def release(self, layer: Layer) -> list[LayerMetadata]:
        return self._layers.release(layer)


def test_a_provider_that_only_takes_and_releases_is_enough(backend: StoreBackend, layers: Layers) -> None:
    provider = cast(LayerProvider, _OnlyGetAndRelease(layers))
    store = ImageStore(backend, provider)
    base, child, grandchild = family(store)
    store.refresh()
    assert list(ImageStore(backend, provider).map()) == sorted([base, child, grandchild])
    with store.get_tar_seek_stream(grandchild) as stream:
        assert stream.read() == BOTTOM + MIDDLE + TOP
    assert store.search(child.hex[:20]) == child
    assert [layer.diff_id for layer in store.delete(grandchild)] == []
