"""The tree of one layer, built from the members of its tar as an engine unpacks them into an empty directory.

Follows Docker on overlay2 (moby, pkg/archive, `Unpack`), tried with it: names are cleaned as text; directories on the
way to a name may be symbolic links, which are followed inside the layer's own tree; directories that it has no member
for are made, with mode 0755; a directory on a directory keeps what is in it, and whatever else meets what is there
replaces it; a hard link's mode, owner, time and attributes become those of its file, of a symbolic link the owner and
attributes only, and the file's capabilities are lost if the link has none.
Whiteouts are files like any other, for `overlay` to understand.

Docker and Podman refuse a layer that has a path twice, a name below a file, or a hard link to what the layer does not
have; containerd only the last two (tried with Docker 20.10, Podman 4.3, containerd 1.6). Here, as in containerd, the
last member of a path counts, but a directory keeps the extended attributes of those before; what no file system could
have made is skipped with a warning, and such a link is kept for `overlay` to find its file in the layers below.
"""

from collections.abc import Callable, Iterable

import msgspec

from imgfs.errors import InvalidImage, quoted
from imgfs.logs import SkipLog
from imgfs.tar.member import DIRECTORY, HARDLINK, SYMLINK, Member
from imgfs.tar.paths import MAX_NAME, MAX_PATH, cleaned, steps
from imgfs.tar.xattrs import CAPABILITY, possible
from imgfs.tree.entries import TYPES, DirEntry, FileEntry, Metadata, form_of, tree_of
from imgfs.tree.tree import OTHER_NAME, Tree

MAX_ENTRIES = 5_000_000
MAX_IMPLIED = 500_000  # directories that no member is for: a short input can have very many
MAX_TEXT = 256 << 20
"""In bytes, of names, of symbolic links' targets and of different sets of extended attributes."""
_MAX_LINKS = 40  # symbolic links followed on the way to one name, as Linux has it
_MAX_STEPS = 50_000_000  # components looked up one by one, all in all
_REMEMBERED = 1024  # sets of attributes
_XATTRS, _XATTR = 200, 100  # bytes that a set takes, and an attribute in it, without their texts
_MAX_KNOWN = 64 << 20  # bytes that remembered paths take
_KNOWN_SIZE = 256  # bytes that one takes besides its text, about


class Unfit(ValueError):
    """A member that cannot be applied, and why."""


class TreeBuilder:
    """Takes the members of one layer in order, and returns the tree that they make.

    `report` is called with a line for each member that is skipped.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._root = DirEntry(None, b"", None, OTHER_NAME, is_implied=True)
        self._made, self._implied = 1, 0
        self._text = self._steps = 0
        self._counted: dict[int, dict[bytes, bytes]] = {}  # sets of attributes, by identity
        # where paths lead from a directory, while that holds, and through how many symbolic links; what that takes
        self._known: dict[tuple[DirEntry, bytes], tuple[DirEntry, int]] = {}
        self._known_bytes = 0

    def add(self, members: Iterable[Member]) -> None:
        """Apply the next members. Raises InvalidImage if the tree would take absurdly much memory or time."""
        for member in members:
            try:
                self._add(member)
            except ValueError as error:
                self._report(f"{quoted(member.name[:MAX_PATH])} is skipped: {error}")

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
                had = there.member.xattrs if there.member is not None and not there.is_implied else None
                xattrs = (had or {}) | (member.xattrs or {})
                if xattrs != (member.xattrs or {}):
                    member, form = msgspec.structs.replace(member, xattrs=xattrs), OTHER_NAME
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
        self._known_bytes = 0

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
        while holder is not None and isinstance(replaced, DirEntry):
            if holder is replaced:
                raise Unfit("a hard link that replaces the directory its target is in")
            holder = holder.parent
        if not target.lower:
            _change(target, member)
        return target

    def _made_directory(self, path: bytes, member: Member) -> tuple[DirEntry, bool]:
        """The directory at a path, made on behalf of a member below it, and whether that is its own path."""
        directory, missing, links = self._resolve(path)
        self._implied += len(missing)
        if self._implied > MAX_IMPLIED:
            raise InvalidImage(f"more than {MAX_IMPLIED} directories that it has no members for")
        for name in missing:
            made = DirEntry(directory, name, member, OTHER_NAME, is_implied=True)
            self._place(directory, name, made)
            directory = made
        return directory, not links

    def _directory(self, path: bytes) -> DirEntry | None:
        """The directory at a path if there is one. Raises Unfit if something is in the way."""
        directory, missing, _ = self._resolve(path)
        return None if missing else directory

    def _resolve(self, path: bytes) -> tuple[DirEntry, list[bytes], int]:
        """How far a path exists, what is missing from there, and how many symbolic links are on the way.

        Raises Unfit if something is in the way. A long path is taken in stretches, each of which is remembered, so that
        what it has in common with any before is not walked again.
        """
        directory, missing, links, start = self._root, list[bytes](), 0, 0
        while start < len(path):
            end = len(path)
            if end - start > MAX_NAME:
                end = path.rfind(b"/", start, start + MAX_NAME + 1)
                if end < 0:
                    raise Unfit(f"a name of more than {MAX_NAME} bytes")
            stretch = path[start:end]
            start = end + 1
            if missing:
                missing += stretch.split(b"/")
                continue
            known = self._known.get((directory, stretch))
            if known is None:
                reached, missing, followed = self._walk(directory, stretch.split(b"/"))
                if not missing:
                    self._remember((directory, stretch), (reached, followed))
            else:
                reached, followed = known
            directory = reached
            links += followed
            if links > _MAX_LINKS:
                raise Unfit("too many symbolic links on the way")
        return directory, missing, links

    def _remember(self, way: tuple[DirEntry, bytes], reached: tuple[DirEntry, int]) -> None:
        self._known_bytes += _KNOWN_SIZE + len(way[1])
        if self._known_bytes > _MAX_KNOWN:
            self._forget()
        self._known[way] = reached

    def _walk(self, directory: DirEntry, parts: list[bytes]) -> tuple[DirEntry, list[bytes], int]:
        """As `_resolve`, from a directory on."""
        self._take_steps(len(parts))
        for number, part in enumerate(parts):
            child = directory.children.get(part)
            if not isinstance(child, DirEntry):
                return self._follow(directory, parts[number:])
            directory = child
        return directory, [], 0

    def _take_steps(self, count: int) -> None:
        self._steps += count
        if self._steps > _MAX_STEPS:
            raise InvalidImage(f"more than {_MAX_STEPS} directories on the ways to its names")

    def _follow(self, directory: DirEntry, parts: list[bytes]) -> tuple[DirEntry, list[bytes], int]:
        """As `_walk`, following symbolic links."""
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
                if links > _MAX_LINKS:
                    raise Unfit("too many symbolic links on the way")
                target = child.member.linkname
                ahead += steps(target)[::-1]
                self._take_steps(len(ahead))
                if target.startswith(b"/"):
                    directory = self._root
            else:
                raise Unfit(f"{quoted(part)} on the way is no directory")
        return directory, missing, links


def _check_target(target: bytes) -> None:
    if not 0 < len(target) < MAX_PATH:
        raise Unfit(f"a symbolic link to a path of {len(target)} bytes")
    if b"\0" in target:
        raise Unfit("a symbolic link to a path with a NUL")


def _change(target: FileEntry, link: Member) -> None:
    """Give a file the metadata of a hard link to it."""
    had, kind = target.metadata, target.member.type
    xattrs = {
        name: value for name, value in had.xattrs.items() if name != CAPABILITY
    }  # chown(2) takes it away
    xattrs |= possible(link.xattrs or {}, kind)
    if kind == SYMLINK:
        now = had._replace(uid=link.uid, gid=link.gid, xattrs=xattrs)
    else:
        now = Metadata(link.mode, link.uid, link.gid, link.mtime_ns, xattrs)
    if now != had:
        target.changed = now
        target.form = OTHER_NAME


def build_tree(members: Iterable[Member], name: str) -> Tree:
    """The tree of one layer; what is skipped is logged with `name`. Raises as `TreeBuilder.add` does."""
    log = SkipLog(name, "members")
    builder = TreeBuilder(log.report)
    builder.add(members)
    log.finish()
    tree = builder.tree()
    builder.clear()
    return tree
