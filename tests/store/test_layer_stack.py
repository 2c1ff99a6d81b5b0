"""The tars of an image's layers, and who holds which layer for how long."""

import io
import os
from collections.abc import Sequence

import pytest

from imgfs.digest import ChainID, DiffID
from imgfs.errors import (
    LayerNotFound,
    StoreError,
)
from imgfs.layers import Layer
from imgfs.store import ImageStore, LayerStack, MemoryBackend
from imgfs.tar import TarBlob
from tests.store.stores import BOTTOM, MIDDLE, TOP, Layers, PlainLayer, config, family


def test_the_tar_is_the_layers_end_to_end_and_can_be_read_anywhere(store: ImageStore) -> None:
    whole = BOTTOM + MIDDLE + TOP
    with store.get_tar_seek_stream(family(store)[2]) as stream:
        assert stream.read() == whole
        for position in range(len(whole) + 2):
            stream.seek(position)
            assert stream.read(7) == whole[position : position + 7]
        assert stream.seek(-3, os.SEEK_END) == len(whole) - 3
        assert stream.read() == whole[-3:]
        assert (stream.readable(), stream.seekable(), stream.writable()) == (True, True, False)


def test_an_image_without_layers_has_an_empty_tar(store: ImageStore) -> None:
    image_id = store.create(config())
    assert store.known_tar_size(image_id) == 0
    with store.get_tar_seek_stream(image_id) as stream:
        assert stream.read() == b""


def test_the_tars_size_is_known_if_that_of_every_layer_is(layers: Layers) -> None:
    stack = [BOTTOM, b"unmeasured"]
    unmeasured = layers.add(stack, [len(BOTTOM), None])[1]
    store = ImageStore(MemoryBackend(), layers)
    assert store.known_tar_size(store.create(config("a", [BOTTOM, MIDDLE]))) == len(BOTTOM + MIDDLE)
    image_id = store.create(config("b", stack))
    assert store.known_tar_size(image_id) is None
    object.__setattr__(layers.table[unmeasured], "known_size", len(stack[1]))
    assert store.known_tar_size(image_id) == sum(map(len, stack))


def test_a_stream_stays_readable_after_its_image_is_deleted(store: ImageStore, layers: Layers) -> None:
    image_id = store.create(config(layers=[BOTTOM, MIDDLE]))
    with store.get_tar_seek_stream(image_id) as stream:
        assert store.delete(image_id) == []
        assert set(layers.references().values()) == {2, 1}  # each layer by the stream, the lower by the upper
        assert stream.read() == BOTTOM + MIDDLE
    assert layers.references() == {}
    stream.close()


def test_closing_the_store_releases_every_layer_but_those_of_open_streams(
    store: ImageStore, layers: Layers
) -> None:
    stream = store.get_tar_seek_stream(family(store)[0])
    store.close()
    assert list(layers.references().values()) == [1]
    assert stream.read() == BOTTOM
    stream.close()
    assert layers.references() == {}


def test_the_content_of_a_layers_files_stays_readable_by_itself(layers: Layers) -> None:
    layers.add([BOTTOM, MIDDLE])
    stack = LayerStack(layers, [DiffID.of(BOTTOM), DiffID.of(MIDDLE)])
    with stack.open_content(1, None) as content:
        assert layers.references() == {}
        assert content.pread(len(MIDDLE), 0) == MIDDLE
        assert (content.size, content.known_size) == (len(MIDDLE), len(MIDDLE))
    with pytest.raises(StoreError, match="the copy of it that its files were found in is not there"):
        stack.open_content(1, "another copy")
    assert layers.references() == {}


def test_a_layer_is_held_while_it_is_used(layers: Layers) -> None:
    layers.add([BOTTOM])
    stack = LayerStack(layers, [DiffID.of(BOTTOM)])
    assert stack.use(0, lambda layer: (layer.diff_id, list(layers.references().values()))) == (
        DiffID.of(BOTTOM),
        [1],
    )
    with pytest.raises(LayerNotFound):
        stack.use(0, lambda layer: layers.get(ChainID.of(b"none")))
    assert layers.references() == {}


class Unreadable(PlainLayer):
    """A layer whose bytes are not there."""

    def open(self) -> TarBlob:
        raise FileNotFoundError(2, "No such file", "blob")


def damaged(layers: Layers, stack: Sequence[bytes]) -> ChainID:
    """Make the top layer of a stack one that cannot be opened."""
    chain_id = layers.add(stack)[-1]
    layer = layers.table[chain_id]
    layers.table[chain_id] = Unreadable(chain_id, layer.diff_id, layer.parent, b"", None)
    return chain_id


def test_a_layer_that_cannot_be_opened_keeps_no_layer_held(layers: Layers) -> None:
    damaged(layers, [BOTTOM, MIDDLE])
    store = ImageStore(MemoryBackend(), layers)
    image_id = store.create(config(layers=[BOTTOM, MIDDLE, TOP]))
    references = layers.references()
    with pytest.raises(FileNotFoundError):
        store.get_tar_seek_stream(image_id)
    assert layers.references() == references
    with pytest.raises(FileNotFoundError):
        store.open_layers(image_id)
    assert layers.references() == references


def test_to_the_tolerant_a_layer_that_cannot_be_opened_fails_when_it_is_read(layers: Layers) -> None:
    damaged(layers, [BOTTOM, MIDDLE])
    store = ImageStore(MemoryBackend(), layers)
    image_id = store.create(config(layers=[BOTTOM, MIDDLE, TOP]))
    references = layers.references()
    bottom, middle, top = tars = store.open_layers(image_id, tolerant=True)
    assert (bottom.pread(99, 0), top.pread(99, 0), middle.known_size) == (BOTTOM, TOP, None)
    for use in (
        lambda: middle.pread(1, 0),
        lambda: middle.size,
        lambda: middle.ending_before(1),
    ):
        with pytest.raises(StoreError, match="No such file"):
            use()
    for tar in tars:
        tar.close()
    assert layers.references() == references


def test_a_stream_is_one_of_pythons_own(store: ImageStore) -> None:
    with store.get_tar_seek_stream(family(store)[1]) as stream:
        assert isinstance(stream, io.BufferedReader)
        assert stream.peek(3).startswith(BOTTOM[:3])


def test_a_layer_that_a_provider_answers_none_for_is_not_there(layers: Layers) -> None:
    """A provider that answers None instead of raising, as one in Go's manner might."""

    class Absent(Layers):
        def get(self, chain_id: ChainID) -> Layer:
            return None  # type: ignore[return-value]

    store = ImageStore(MemoryBackend(), Absent())
    image_id = store.create(config(layers=[BOTTOM]))
    with pytest.raises(LayerNotFound):
        store.get_tar_seek_stream(image_id)
    store.delete(image_id)


def test_sizes_are_learnt_once(layers: Layers) -> None:
    layers.add([BOTTOM, MIDDLE], [len(BOTTOM), None])
    stack = LayerStack(layers, [DiffID.of(BOTTOM), DiffID.of(MIDDLE)])
    assert stack.sizes() == [None, None], "what no one holds is not looked for"
    assert stack.look_for_sizes() == [len(BOTTOM), None]
    layers.table.clear()  # so that asking again would show
    assert stack.sizes() == stack.look_for_sizes() == [len(BOTTOM), None]


def test_a_sum_of_sizes_that_no_file_can_have_is_not_known(layers: Layers) -> None:
    layers.add([BOTTOM, MIDDLE, TOP], [1 << 62, (1 << 62) - 1, 1])
    most = LayerStack(layers, [DiffID.of(BOTTOM), DiffID.of(MIDDLE)])
    more = LayerStack(layers, [DiffID.of(BOTTOM), DiffID.of(MIDDLE), DiffID.of(TOP)])
    assert (most.look_for_sizes(), most.known_size) == ([1 << 62, (1 << 62) - 1], (1 << 63) - 1)
    assert (more.look_for_sizes(), more.known_size) == ([1 << 62, (1 << 62) - 1, 1], None)
