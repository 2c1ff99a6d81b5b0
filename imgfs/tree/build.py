"""The tree of one layer, built from the members of its tar as an engine unpacks them into an empty directory.

Follows Docker on overlay2 (moby, pkg/archive, `Unpack`), tried with it: names are cleaned as text; directories on the
way to a name may be symbolic links, which are followed inside the layer's own tree; directories that it has no member
for are made, with mode 0755; a directory on a directory keeps what is in it, and whatever else meets what is there
replaces it; a hard link's mode, owner, time and attributes become those of its file, of a symbolic link the owner only.
Whiteouts are files like any other, for `overlay` to understand.

Docker refuses a layer that has a path twice, a name below a file, or a hard link to what the layer does not have. Here
the last member of a path counts, as containerd has it, what no file system could have made is left out and reported,
and such a link is kept for `overlay` to find its file in the layers below.
"""

import logging
from collections.abc import Callable, Iterable

import msgspec

from imgfs.errors import InvalidImage, quoted
from imgfs.tar.member import DIRECTORY, HARDLINK, SYMLINK, Member
from imgfs.tar.paths import MAX_NAME, MAX_PATH, cleaned, steps
from imgfs.tree.entries import TYPES, DirEntry, FileEntry, Metadata, form_of, tree_of
from imgfs.tree.tree import OTHER_NAME, Tree

logger = logging.getLogger("imgfs")

MAX_ENTRIES = 5_000_000
MAX_TEXT = (
    256 << 20
)  # bytes of names, of symbolic links' targets and of different sets of extended attributes
_MAX_REPORTED = 20  # members left out that are logged one by one
_MAX_LINKS = 40  # symbolic links followed on the way to one name, as Linux has it
_MAX_STEPS = 50_000_000  # components looked up because of symbolic links, all in all
_REMEMBERED = 1024  # sets of attributes
_XATTRS, _XATTR = 200, 100  # bytes that a set takes, and an attribute in it, without their texts
_MAX_KNOWN = 32 << 20  # bytes of paths of directories that are remembered


class Unfit(ValueError):
    """A member that cannot be applied, and why."""


class TreeBuilder:
    """Takes the members of one layer in order, and returns the tree that they make.

    `report` is called with a line for each member that had to be left out.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._root = DirEntry(None, b"", None, OTHER_NAME, is_implied=True)
        self._made = 1
        self._text = self._steps = 0
        self._counted: dict[int, dict[bytes, bytes]] = {}  # sets of attributes, by identity
        # directories by their paths as they stand in the tar, while that holds, whether these are their own paths, and
        # the bytes of them
        self._known: dict[bytes, tuple[DirEntry, bool]] = {}
        self._known_text = 0
        # the last path that was walked, as far as it has directories: these, and where their names end in it
        self._walked = b""
        self._ends: list[int] = []
        self._directories: list[DirEntry] = []
        self._through_links = False  # whether that path went through symbolic links

    def add(self, members: Iterable[Member]) -> None:
        """Apply the next members. Raises InvalidImage if the tree would take absurdly much memory or time."""
        for member in members:
            try:
                self._add(member)
            except ValueError as error:
                self._report(f"{quoted(member.name[:MAX_PATH])} is left out: {error}")

    def tree(self) -> Tree:
        """The tree of all members so far."""
        return tree_of(self._root)

    def clear(self) -> None:
        """Forget all members. Directories refer to each other, so what they hold would be in memory for long."""
        waiting = [self._root]
        for directory in waiting:
            waiting += [child for child in directory.children.values() if isinstance(child, DirEntry)]
            directory.children.clear()
            directory.parent = None
        self._forget()

    def _add(self, member: Member) -> None:
        path = cleaned(member.name)
        kind = member.type
        if member.xattrs:
            self._count_xattrs(member.xattrs)
        if not path:
            if kind != DIRECTORY:
                raise Unfit("the root is a directory")
            self._root.is_implied, self._root.member = False, member
            return
        before, _, name = path.rpartition(b"/")
        if len(name) > MAX_NAME:
            raise Unfit(f"a name of more than {MAX_NAME} bytes")
        named = member
        if len(member.name) > MAX_NAME:  # what is kept of it does without: very many long ones are gigabytes
            member = msgspec.structs.replace(member, name=b"")
        directory, is_own = self._made_directory(before, member)
        form = form_of(named, path) if is_own else OTHER_NAME
        if kind == DIRECTORY:
            there = directory.children.get(name)
            if isinstance(there, DirEntry):
                there.is_implied, there.member, there.form = False, member, form
            else:
                self._place(directory, name, DirEntry(directory, name, member, form, is_implied=False))
        elif kind == HARDLINK:
            self._place(directory, name, self._linked(member, path, directory, name))
        elif kind in TYPES:
            if kind == SYMLINK:
                _check_target(member.linkname)
                self._count(len(member.linkname))
            self._place(directory, name, FileEntry(directory, name, member, form))
        else:
            raise Unfit(f"of unknown type {quoted(kind)}")

    def _count_xattrs(self, xattrs: dict[bytes, bytes]) -> None:
        """Count a set unless it was counted lately: members that follow each other often share theirs."""
        if self._counted.get(id(xattrs)) is not xattrs:
            if len(self._counted) >= _REMEMBERED:
                self._counted.clear()
            self._counted[id(xattrs)] = xattrs
            self._count(_XATTRS + sum(_XATTR + len(name) + len(value) for name, value in xattrs.items()))

    def _count(self, size: int) -> None:
        self._text += size
        if self._text > MAX_TEXT:
            raise InvalidImage(f"more than {MAX_TEXT >> 20} MiB of names and attributes")

    def _place(self, directory: DirEntry, name: bytes, node: FileEntry | DirEntry) -> None:
        if directory.length + len(name) > MAX_PATH:
            raise Unfit(f"through symbolic links, a path of {directory.length + len(name)} bytes")
        self._made += 1
        if self._made > MAX_ENTRIES:
            raise InvalidImage(f"more than {MAX_ENTRIES} entries")
        self._count(len(name))
        old = directory.children.get(name)
        if isinstance(old, DirEntry) or (old is not None and old.member.type == SYMLINK):
            self._forget()
        directory.children[name] = node

    def _forget(self) -> None:
        """Forget where paths lead: one that went through what is replaced may lead elsewhere now."""
        self._known.clear()
        self._known_text = 0
        self._walked = b""
        self._ends.clear()
        self._directories.clear()

    def _linked(self, member: Member, path: bytes, directory: DirEntry, name: bytes) -> FileEntry:
        """The file that a hard link, itself to be placed at `path`, leads to."""
        shown = member.linkname[:MAX_PATH]
        where = cleaned(member.linkname)
        before, _, last = where.rpartition(b"/")
        holder = self._directory(before)
        target = holder.children.get(last) if holder is not None else None
        if isinstance(target, DirEntry) or not where:
            raise Unfit(f"a hard link to {quoted(shown)}, which is no file here")
        if target is None:
            if where == path:
                raise Unfit("a hard link to itself")
            self._count(len(where))
            return FileEntry(directory, name, member, OTHER_NAME, where)
        replaced = directory.children.get(name)
        if replaced is target and holder is directory:
            raise Unfit("a hard link to itself")
        while holder is not None:
            if holder is replaced:
                raise Unfit("a hard link that replaces the directory its target is in")
            holder = holder.parent
        if not target.lower:
            _change(target, member)
        return target

    def _made_directory(self, path: bytes, member: Member) -> tuple[DirEntry, bool]:
        """The directory at a path, made on behalf of a member below it, and whether that is its own path."""
        known = self._known.get(path)
        if known is None:
            directory, missing = self._resolve(path)
            for name in missing:
                made = DirEntry(directory, name, member, OTHER_NAME, is_implied=True)
                self._place(directory, name, made)
                directory = made
            known = self._remember(path, directory)
        return known

    def _directory(self, path: bytes) -> DirEntry | None:
        """The directory at a path if there is one. Raises Unfit if something is in the way."""
        known = self._known.get(path)
        if known is None:
            directory, missing = self._resolve(path)
            if missing:
                return None
            known = self._remember(path, directory)
        return known[0]

    def _remember(self, path: bytes, directory: DirEntry) -> tuple[DirEntry, bool]:
        if self._known_text > _MAX_KNOWN:
            self._known.clear()
            self._known_text = 0
        known = self._known[path] = directory, not self._through_links
        self._known_text += len(path)
        return known

    def _resolve(self, path: bytes) -> tuple[DirEntry, list[bytes]]:
        """How far a path exists, and what is missing from there. Raises Unfit if something is in the way.

        What it has in common with the path before is not walked again, so that deep paths take no longer than as many
        bytes of short ones.
        """
        shared = self._shared(path)
        end = self._ends[shared - 1] + 1 if shared else 0
        parts = path[end:].split(b"/") if end < len(path) else []
        if len(path) - end > MAX_NAME and max(map(len, parts)) > MAX_NAME:
            raise Unfit(f"a name of more than {MAX_NAME} bytes")
        del self._ends[shared:], self._directories[shared:]
        self._walked = path
        self._through_links = False
        directory = self._directories[-1] if shared else self._root
        for number, part in enumerate(parts):
            child = directory.children.get(part)
            if not isinstance(child, DirEntry):
                return self._follow(directory, parts[number:])
            directory = child
            end += len(part) + 1
            self._ends.append(end - 1)
            self._directories.append(child)
        return directory, []

    def _shared(self, path: bytes) -> int:
        """How many components a path begins with that the one walked before does, and that are directories."""
        low, high = 0, len(self._ends)
        while low < high:
            middle = (low + high + 1) // 2
            end = self._ends[middle - 1]
            if path[:end] == self._walked[:end] and path[end : end + 1] in (b"", b"/"):
                low = middle
            else:
                high = middle - 1
        return low

    def _follow(self, directory: DirEntry, parts: list[bytes]) -> tuple[DirEntry, list[bytes]]:
        """The same from a directory on, following symbolic links."""
        missing = list[bytes]()
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
            elif isinstance(child, DirEntry):
                directory = child
            elif child.member.type == SYMLINK:
                links += 1
                self._through_links = True
                if links > _MAX_LINKS:
                    raise Unfit("too many symbolic links on the way")
                target = child.member.linkname
                ahead += steps(target)[::-1]
                self._steps += len(ahead)
                if self._steps > _MAX_STEPS:
                    raise InvalidImage("symbolic links that lead through too many directories")
                if target.startswith(b"/"):
                    directory = self._root
            else:
                raise Unfit(f"{quoted(part)} on the way is no directory")
        return directory, missing


def _check_target(target: bytes) -> None:
    if not 0 < len(target) < MAX_PATH:
        raise Unfit(f"a symbolic link to a path of {len(target)} bytes")
    if b"\0" in target:
        raise Unfit("a symbolic link to a path with a NUL")


def _change(target: FileEntry, link: Member) -> None:
    """Give a file the metadata of a hard link to it."""
    had = target.metadata
    if target.member.type == SYMLINK:
        now = had._replace(uid=link.uid, gid=link.gid)
    else:
        now = Metadata(link.mode, link.uid, link.gid, link.mtime_ns, had.xattrs)
        if link.xattrs:
            now = now._replace(xattrs=had.xattrs | link.xattrs)
    if now != had:
        target.changed = now
        target.form = OTHER_NAME


def build_tree(members: Iterable[Member], name: str) -> Tree:
    """The tree of one layer; what is left out is logged with `name`. Raises as `TreeBuilder.add` does."""
    left_out = 0

    def report(problem: str) -> None:
        nonlocal left_out
        left_out += 1
        if left_out <= _MAX_REPORTED:
            logger.warning("%s: %s", name, problem)

    builder = TreeBuilder(report)
    builder.add(members)
    if left_out > _MAX_REPORTED:
        logger.warning("%s: %d more members are left out", name, left_out - _MAX_REPORTED)
    tree = builder.tree()
    builder.clear()
    return tree
