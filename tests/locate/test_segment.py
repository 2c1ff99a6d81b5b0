"""Layers in segments: what is written is read again, and what is no segment is refused."""

import io
import struct
import tarfile
from contextlib import suppress
from random import Random

import pytest

from imgfs.errors import Corrupt, InvalidImage
from imgfs.locate.place import BLOCK, columns_of
from imgfs.locate.segment import Segment
from imgfs.locate.segment_writer import PackedLayer, pack_layer, write_segment
from imgfs.tree import Tree
from tests.locate.indexed import packed
from tests.tree.stacks import Entry, layer_tree, tar

FILE, SYMLINK = tarfile.REGTYPE, tarfile.SYMTYPE


def segment(layers: list[PackedLayer]) -> Segment:
    file = io.BytesIO()
    write_segment(layers, file.write)
    return Segment(file.getvalue())


def tree_of(names: list[str], **values: int) -> Tree:
    return layer_tree(tar([Entry(name, FILE, **values) for name in names]))  # type: ignore[arg-type]


def test_columns_are_those_of_the_tree() -> None:
    names = [f"d{number % 7}/file-{number}" for number in range(2 * BLOCK)]
    trees = [
        tree_of(names, owner=3, mode=0o600),
        layer_tree(tar([Entry("l", SYMLINK, "to"), Entry("m", SYMLINK, "x")])),
    ]
    found = segment(packed(trees))
    assert len(found) == sum(map(len, trees))
    for layer, tree in zip(found.layers, trees, strict=True):
        assert [layer.path(entry) for entry in range(len(layer))] == [
            tree.path(entry) for entry in range(len(tree))
        ]
        assert [*layer.sizes] == [*tree.sizes]
        assert [*layer.mtimes] == [*tree.mtimes]
        for entry in range(len(tree)):
            assert layer.children(entry) == tree.children(entry) or not tree.children(entry)
            assert layer.names_in(entry) == tree.names(tree.children(entry))
            kind = layer.kind(entry)
            assert (kind.mode, kind.uid, kind.gid) == (tree.modes[entry], tree.uids[entry], tree.gids[entry])
            assert layer.lookup(tree.parents[entry], tree.name(entry)) == (entry or None)
            if tree.name(entry) in (b"l", b"m"):
                assert layer.target(entry) == tree.target(entry)
        assert layer.lookup(0, b"nothing") is None


def test_paths_of_any_depth_are_found_in_any_order() -> None:
    tree = tree_of([f"{'d/' * depth}f" for depth in range(0, 1000, 7)] + ["e/" * 1000 + "f"])
    (layer,) = segment(packed([tree])).layers
    entries = [entry for entry in range(len(tree)) if tree.name(entry) == b"f"]
    for _ in range(2):
        Random(1).shuffle(entries)
        assert [layer.path(entry) for entry in entries] == [tree.path(entry) for entry in entries]


def test_many_kinds_take_wider_numbers_and_too_many_are_refused() -> None:
    tree = tree_of([str(number) for number in range(66_000)])
    for entry in range(300):
        tree.uids[entry] = entry
    (layer,) = segment(packed([tree])).layers
    assert [layer.kind(entry).uid for entry in range(300)] == list(range(300))
    for entry in range(len(tree)):
        tree.uids[entry] = entry
    with pytest.raises(InvalidImage, match="too many"):
        pack_layer(bytes(32), tree, None)


def test_digests_are_found_by_their_entries() -> None:
    tree = tree_of(["a", "b"])
    (layer,) = segment([pack_layer(bytes(32), tree, {2: b"d" * 32})]).layers
    assert [layer.digest(entry) for entry in range(3)] == [None, None, b"d" * 32]
    assert layer.place.has_digests


def test_layers_of_a_segment_are_written_again_as_they_are() -> None:
    first = segment(packed([tree_of(["a/b"]), tree_of(["c"])]))
    again = segment([PackedLayer.of(layer) for layer in first.layers])
    assert bytes(again.data) == bytes(first.data)


def test_what_is_cut_off_or_of_another_form_is_refused() -> None:
    data = bytes(segment(packed([tree_of(["a/b"]), tree_of(["c"])])).data)
    for size in range(len(data)):
        with pytest.raises(Corrupt):
            Segment(data[:size])
    with pytest.raises(Corrupt):
        Segment(b"x" + data[1:])


def test_columns_that_no_layer_has_do_not_end_in_a_loop() -> None:
    good = segment(packed([tree_of(["a/b", "c/D"])]))
    starts = {name: start for name, start, _ in columns_of(good.layers[0].place)}
    for column in ("parents", "ends"):
        for value in range(6):
            data = bytearray(good.data)
            data[starts[column] : starts[column] + 20] = struct.pack("<5I", *[value] * 5)
            (layer,) = Segment(bytes(data)).layers
            with suppress(Corrupt, IndexError):
                for entry in [*layer.named(b"b"), *layer.named_folded(b"d"), *range(5)]:
                    layer.path(entry)
