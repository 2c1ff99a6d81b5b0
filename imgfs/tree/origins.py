"""Where a path of an image comes from: what each layer did to it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from imgfs.tar.paths import components
from imgfs.tree.overlay import Overlay
from imgfs.tree.tree import NO_LAYER, Tree
from imgfs.tree.whiteouts import OPAQUE, WHITEOUT, marker


@dataclass(frozen=True, slots=True)
class Event:
    """What a layer, counted from the bottom, did to a path.

    `entry` is what it has for it, if anything, in `tree`; `what` says which and by what. `gone` says that it took the
    path away.
    """

    layer: int
    what: str
    tree: Tree = field(repr=False)
    entry: int | None = None
    gone: bool = False


def origins(path: bytes, trees: Iterable[Tree]) -> list[Event]:
    """What each layer did to a path, bottom first; nothing for layers that left it as it was.

    Directories on the way to the path may be symbolic links, as they are once the layer is there. Raises InvalidImage
    as `Overlay` does.
    """
    overlay = Overlay(lambda problem: None)
    below: list[Tree] = []
    events: list[Event] = []
    before: tuple[int, int] | None = None
    for number, tree in enumerate(trees):
        overlay.apply(tree)
        below.append(tree)
        after = overlay.find(path)
        if after != before:
            events.append(_event(number, path, below, before, after))
        before = after
    return events


def _event(
    number: int,
    path: bytes,
    trees: list[Tree],
    before: tuple[int, int] | None,
    after: tuple[int, int] | None,
) -> Event:
    tree = trees[number]
    if after is None:
        return Event(number, f"removed by {_remover(components(path), tree)}", tree, gone=True)
    layer, entry = after
    if layer != number:
        return Event(number, "hard link to a file of a lower layer", trees[layer], entry)
    if tree.layers[entry] == NO_LAYER:
        if before is not None and not trees[before[0]].is_directory(before[1]):
            return Event(number, "replaced by a directory, made for what is in it", tree)
        return Event(number, "made for what is in it", tree)
    if before is None:
        return Event(number, "added", tree, entry)
    merged = tree.is_directory(entry) and trees[before[0]].is_directory(before[1])
    return Event(number, "listed again" if merged else "replaced", tree, entry)


def _remover(parts: list[bytes], tree: Tree) -> str:
    """What in a layer took a path away."""
    directory = 0
    for depth, part in enumerate(parts):
        here = b"/".join(parts[:depth])
        if depth and marker(tree, directory, OPAQUE) is not None:
            return f"the opaque directory {_shown(here)}"
        if marker(tree, directory, WHITEOUT + part) is not None:
            return f"the whiteout {_shown(b'/'.join([*parts[:depth], WHITEOUT + part]))}"
        entry = tree.lookup(directory, part)
        if entry is None:
            break
        if tree.devices.get(entry) == (0, 0):
            return f"the whiteout {_shown(b'/'.join(parts[: depth + 1]))}, a character device 0/0"
        if not tree.is_directory(entry):
            break
        directory = entry
    return "what took the place of a directory or link above it"


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace")
