"""Layers applied one on another: the tree that a container of the image would see.

Format: OCI image specification, layer.md, "Applying Changesets" and "Whiteouts". Where that leaves a choice, umoci and
moby are followed: names are cleaned as text; directories on the way to a name may be symbolic links, which are
followed inside the root; directories that no layer has are made; a directory on a directory keeps what is in it, and
whatever else meets what is there replaces it. A whiteout hides what lower layers have, never its own layer's entries.

Members that no file system could have made are left out, and said to be.
"""

import logging
from collections.abc import Callable, Iterable

from imgfs.errors import InvalidImage
from imgfs.tar.branches import TYPES, Branch, Leaf, tree_of
from imgfs.tar.member import (
    DIRECTORY,
    HARDLINK,
    SYMLINK,
    Member,
)
from imgfs.tar.paths import MAX_PATH, components, steps
from imgfs.tar.tree import NO_LAYER, Tree

logger = logging.getLogger("imgfs")

WHITEOUT, OPAQUE, AUFS = b".wh.", b".wh..wh..opq", b".wh..wh."
"""How the names of whiteouts begin, the one that hides all that a directory has below, those of AUFS's own files."""

MAX_ENTRIES = 5_000_000
_MAX_REPORTED = 20  # members left out that are logged one by one
_MAX_LINKS = 40  # symbolic links followed on the way to one name, as Linux has it
_MAX_STEPS = 50_000_000  # components looked up because of symbolic links, all in all


class Unfit(ValueError):
    """A member that cannot be applied, and why."""


class Merger:
    """Takes layers bottom first, and answers the tree they make.

    With `raw`, whiteouts are files like any other. `report` is told what had to be left out, a line each.
    """

    def __init__(self, report: Callable[[str], None], *, raw: bool = False) -> None:
        self._report = report
        self._raw = raw
        self._root = Branch(None, b"", NO_LAYER, None)
        self._layer = -1
        self._made = 1
        self._steps = 0
        self._directories: dict[bytes, Branch] = {}  # by the path as it stands in the tar, while that holds

    def apply(self, members: Iterable[Member]) -> None:
        """Apply the next layer. Raises InvalidImage if that takes absurdly much memory or time."""
        self._layer += 1
        self.apply_more(members)

    def apply_more(self, members: Iterable[Member]) -> None:
        """Apply more members of the layer that was applied last. Raises as `apply` does."""
        for member in members:
            try:
                self._apply(member)
            except ValueError as error:
                self._report(f"layer {self._layer}: {member.name[:MAX_PATH]!r} is left out: {error}")

    def find(self, path: bytes) -> Leaf | Branch | None:
        """What is at a path by now, symbolic links on the way to it followed."""
        try:
            parts = components(path)
            directory = self._directory(parts[:-1])
        except ValueError:
            return None
        if directory is None or not parts:
            return directory
        return directory.children.get(parts[-1])

    def tree(self) -> Tree:
        """The tree that all layers so far make."""
        return tree_of(self._root)

    def clear(self) -> None:
        """Forget all layers. Directories refer to each other, so what they hold would be in memory for long."""
        waiting = [self._root]
        for branch in waiting:
            waiting += [child for child in branch.children.values() if isinstance(child, Branch)]
            branch.children.clear()
            branch.parent = None
        self._directories.clear()

    def _apply(self, member: Member) -> None:
        parts = components(member.name)
        if not parts:
            if member.type != DIRECTORY:
                raise Unfit("the root is a directory")
            self._root.layer, self._root.member = self._layer, member
            return
        name = parts[-1]
        if not self._raw and name.startswith(WHITEOUT):
            self._white_out(parts[:-1], name)
            return
        directory = self._made_directory(parts[:-1], member)
        kind = member.type
        if kind == DIRECTORY:
            there = directory.children.get(name)
            if isinstance(there, Branch):
                there.layer, there.member = self._layer, member
            else:
                self._place(directory, name, Branch(directory, name, self._layer, member))
        elif kind == HARDLINK:
            self._place(directory, name, self._linked(member, directory, name))
        elif kind in TYPES:
            if kind == SYMLINK:
                _check_target(member.linkname)
            self._place(directory, name, Leaf(self._layer, member))
        else:
            raise Unfit(f"of unknown type {kind!r}")
        self._touch(directory, name, directory.children[name])

    def _place(self, directory: Branch, name: bytes, node: Leaf | Branch) -> None:
        if directory.length + len(name) > MAX_PATH:
            raise Unfit(f"through symbolic links, a path of {directory.length + len(name)} bytes")
        self._made += 1
        if self._made > MAX_ENTRIES:
            raise InvalidImage(f"more than {MAX_ENTRIES} entries")
        self._replace(directory.children.get(name))
        directory.children[name] = node

    def _replace(self, old: Leaf | Branch | None) -> None:
        """Say that something goes: paths through it may lead elsewhere now."""
        if isinstance(old, Branch) or (old is not None and old.member.type == SYMLINK):
            self._directories.clear()

    def _linked(self, member: Member, directory: Branch, name: bytes) -> Leaf:
        parts = components(member.linkname)
        holder = self._directory(parts[:-1])
        target = holder.children.get(parts[-1]) if holder is not None and parts else None
        if not isinstance(target, Leaf):
            raise Unfit(f"a hard link to {member.linkname[:MAX_PATH]!r}, which is no file here")
        replaced = directory.children.get(name)
        if replaced is target and holder is directory:
            raise Unfit("a hard link to itself")
        while holder is not None:
            if holder is replaced:
                raise Unfit("a hard link that replaces the directory its target is in")
            holder = holder.parent
        return target

    def _made_directory(self, parts: list[bytes], member: Member) -> Branch:
        """The directory at a path, made on behalf of a member below it where there is none."""
        path = b"/".join(parts)
        directory = self._directories.get(path)
        if directory is None:
            directory, missing = self._resolve(parts)
            for name in missing:
                made = Branch(directory, name, NO_LAYER, member)
                self._place(directory, name, made)
                self._touch(directory, name, made)  # even if the member turns out not to fit
                directory = made
            self._directories[path] = directory
        return directory

    def _directory(self, parts: list[bytes]) -> Branch | None:
        """The directory at a path if there is one."""
        directory, missing = self._resolve(parts)
        return None if missing else directory

    def _resolve(self, parts: list[bytes]) -> tuple[Branch, list[bytes]]:
        """How far a path exists, and what is missing from there. Raises Unfit if something is in the way."""
        directory, missing = self._root, list[bytes]()
        ahead = parts[::-1]
        links = 0
        while ahead:
            part = ahead.pop()
            if part == b"..":
                if missing:
                    missing.pop()
                else:
                    directory = directory.parent or directory
                continue
            child = None if missing else directory.children.get(part)
            if child is None:
                missing.append(part)
            elif isinstance(child, Branch):
                directory = child
            elif child.member.type == SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    raise Unfit("too many symbolic links on the way")
                target = child.member.linkname
                ahead += steps(target)[::-1]
                self._steps += len(ahead)
                if self._steps > _MAX_STEPS:
                    raise InvalidImage("symbolic links that lead through more directories than anybody needs")
                if target.startswith(b"/"):
                    directory = self._root
            else:
                raise Unfit(f"{part!r} on the way is no directory")
        return directory, missing

    def _touch(self, directory: Branch | None, name: bytes, node: Leaf | Branch) -> None:
        """Note that the layer has an entry, and so the directories that it is in."""
        if isinstance(node, Branch):
            node.touched = self._layer
        elif directory is not None:
            if directory.fresh is None or directory.fresh_layer != self._layer:
                directory.fresh_layer, directory.fresh = self._layer, set()
            directory.fresh.add(name)
        while directory is not None and directory.touched != self._layer:
            directory.touched = self._layer
            directory = directory.parent

    def _is_fresh(self, directory: Branch, name: bytes, child: Leaf | Branch) -> bool:
        """Whether the layer has an entry, or something below it."""
        if isinstance(child, Branch):
            return child.touched == self._layer
        return (
            directory.fresh is not None and directory.fresh_layer == self._layer and name in directory.fresh
        )

    def _white_out(self, parts: list[bytes], name: bytes) -> None:
        directory = self._directory(parts)
        if name == OPAQUE:
            if directory is not None:
                self._clear(directory)
        elif not name.startswith(AUFS):
            hidden = name.removeprefix(WHITEOUT)
            if hidden in (b"", b".", b".."):
                raise Unfit("a whiteout of nothing")
            if directory is not None:
                self._hide(directory, hidden)

    def _hide(self, directory: Branch, name: bytes) -> None:
        """Remove what lower layers have under a name."""
        child = directory.children.get(name)
        if child is None:
            return
        if self._is_fresh(directory, name, child):
            if isinstance(child, Branch):
                self._clear(child)
            return
        self._replace(child)
        del directory.children[name]

    def _clear(self, directory: Branch) -> None:
        """Remove what lower layers have in a directory, at any depth. Doing it again for a layer removes nothing."""
        waiting = [directory]
        while waiting:
            branch = waiting.pop()
            if branch.cleared == self._layer:
                continue
            branch.cleared = self._layer
            for name, child in list(branch.children.items()):
                if not self._is_fresh(branch, name, child):
                    self._replace(child)
                    del branch.children[name]
                elif isinstance(child, Branch):
                    waiting.append(child)


def _check_target(target: bytes) -> None:
    if not 0 < len(target) < MAX_PATH:
        raise Unfit(f"a symbolic link to a path of {len(target)} bytes")
    if b"\0" in target:
        raise Unfit("a symbolic link to a path with a NUL")


def merge_layers(layers: Iterable[Iterable[Member]], name: str, *, raw: bool = False) -> Tree:
    """The tree that layers make, bottom first; what is left out is logged with `name`. Raises as `Merger` does."""
    left_out = 0

    def report(problem: str) -> None:
        nonlocal left_out
        left_out += 1
        if left_out <= _MAX_REPORTED:
            logger.warning("%s: %s", name, problem)

    merger = Merger(report, raw=raw)
    for members in layers:
        merger.apply(members)
    if left_out > _MAX_REPORTED:
        logger.warning("%s: %d more members are left out", name, left_out - _MAX_REPORTED)
    tree = merger.tree()
    merger.clear()
    return tree
