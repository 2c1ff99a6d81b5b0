"""What each layer of an image adds, replaces and removes, and how much of it later layers hide."""

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from imgfs.tree.merged import MergedDir
from imgfs.tree.overlay import Overlay
from imgfs.tree.tree import Tree
from imgfs.tree.whiteouts import OverlaidLayer, Ref, place, ref


@dataclass(slots=True)
class LayerUsage:
    """What one layer does, in numbers of files, which are all but directories, and bytes of their content.

    `size` is the content of its files, `hidden_size` that of those which later layers delete or replace.
    """

    added: int = 0
    replaced: int = 0
    removed: int = 0
    size: int = 0
    hidden: int = 0
    hidden_size: int = 0


def layer_usage(trees: Iterable[Tree]) -> list[LayerUsage]:
    """What each of some layers, bottom first, does. Raises InvalidImage as `Overlay` does."""
    found: list[LayerUsage] = []
    hidden: set[Ref] = set()  # files of which a name was hidden, so that one with several is counted once

    def watch(before: MergedDir | Ref | None, after: Ref | None) -> None:
        own = found[-1]
        if after is not None and is_directory(before) and _merges(overlay.layers, after):
            return
        is_replaced = (
            before is not None and after is not None and not (is_directory(before) or is_directory(after))
        )
        if is_replaced:
            own.replaced += 1
        elif after is not None:
            own.added += sum(1 for _ in _files(overlay.layers, after))
        for gone in () if before is None else _files(overlay.layers, before):
            own.removed += not is_replaced
            number, entry = place(gone)
            tree = overlay.layers[number].tree
            inode = tree.inode(entry)
            if ref(number, inode) not in hidden:
                hidden.add(ref(number, inode))
                found[number].hidden += 1
                found[number].hidden_size += _content(tree, inode)

    def is_directory(node: MergedDir | Ref | None) -> bool:
        if node is None or isinstance(node, MergedDir):
            return node is not None
        number, entry = place(node)
        return overlay.layers[number].tree.is_directory(entry)

    overlay = Overlay(lambda problem: None, watch)
    for tree in trees:
        size = sum(_content(tree, entry) for entry in tree.walk() if tree.inode(entry) == entry)
        found.append(LayerUsage(size=size))
        overlay.apply(tree)
    return found


def _content(tree: Tree, entry: int) -> int:
    """The size of a regular file; 0 of anything else."""
    return tree.sizes[entry] if stat.S_ISREG(tree.modes[entry]) else 0


def _merges(layers: list[OverlaidLayer], after: Ref) -> bool:
    """Whether an entry is a directory that merges with one below."""
    number, entry = place(after)
    layer = layers[number]
    return layer.tree.is_directory(entry) and not layer.is_opaque(entry)


def _files(layers: list[OverlaidLayer], node: MergedDir | Ref) -> Iterator[Ref]:
    """All that is at or below a node and is no directory."""
    waiting = [node]
    while waiting:
        at = waiting.pop()
        if isinstance(at, MergedDir):
            waiting += at.children.values()
            continue
        number, entry = place(at)
        layer = layers[number]
        if layer.tree.is_directory(entry):
            waiting += [ref(number, child) for _, child in layer.visible(entry)]
        else:
            yield at
