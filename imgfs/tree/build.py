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

import stat
from collections.abc import Callable, Iterable

from imgfs.errors import InvalidImage, quoted
from imgfs.logs import SkipLog
from imgfs.tar.member import DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK, Member
from imgfs.tar.paths import MAX_NAME, MAX_PATH, cleaned, steps
from imgfs.tar.xattrs import CAPABILITY, possible
from imgfs.tree.entries import MODES, DirEntry, Rows, form_of, tree_of
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
        self._rows = Rows()
        self._root = DirEntry(None, b"", self._rows.add_implied(0), is_implied=True)
        self._made, self._implied = 1, 0
        self._text = self._steps = 0
        self._counted: dict[int, dict[bytes, bytes]] = {}  # sets of attributes, by identity
        # where paths lead from a directory, while that holds, and through how many symbolic links; what that takes
        self._known: dict[tuple[DirEntry, bytes], tuple[DirEntry, int]] = {}
        self._known_bytes = 0
        # the last of those that a member was in, as members of one directory mostly follow each other
        self._before: bytes | None = b""
        self._directory_before = self._root, True

    def add(self, members: Iterable[Member]) -> None:
        """Apply the next members. Raises InvalidImage if the tree would take absurdly much memory or time."""
        for member in members:
            try:
                self._add(member)
            except ValueError as error:
                self._report(f"{quoted(member.name[:MAX_PATH])} is skipped: {error}")

    def tree(self) -> Tree:
        """The tree of all members so far."""
        return tree_of(self._root, self._rows)

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
            self._set_directory(self._root, member, OTHER_NAME, member.xattrs or {})
            return
        before, _, name = path.rpartition(b"/")
        if len(name) > MAX_NAME:
            raise Unfit(f"a name of more than {MAX_NAME} bytes")
        if before != self._before:
            self._directory_before = self._made_directory(before, member)
            self._before = before
        directory, is_own = self._directory_before
        form = form_of(member, path) if is_own else OTHER_NAME
        if kind == DIRECTORY:
            there = directory.children.get(name)
            if isinstance(there, DirEntry):
                own = member.xattrs or {}
                had = self._rows.xattrs.get(there.row)
                xattrs = had | own if had else own
                self._set_directory(there, member, form if xattrs == own else OTHER_NAME, xattrs)
            else:
                made = DirEntry(
                    directory,
                    name,
                    self._rows.add(member, form, stat.S_IFDIR | member.mode, 0),
                    is_implied=False,
                )
                self._place(directory, name, made)
        elif kind == HARDLINK:
            self._place(directory, name, self._linked(member, path, directory, name))
        elif kind == SYMLINK:
            _check_target(member.linkname)
            self._count(len(member.linkname))
            self._place(directory, name, self._rows.add_symlink(member, form))
        elif (type_bits := MODES.get(kind)) is not None:
            size = member.size if type_bits == stat.S_IFREG else 0
            self._place(directory, name, self._rows.add(member, form, type_bits | member.mode, size))
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

    def _set_directory(
        self, directory: DirEntry, member: Member, form: int, xattrs: dict[bytes, bytes]
    ) -> None:
        directory.is_implied = False
        self._rows.set_directory(directory.row, member, form, xattrs)

    def _place(self, directory: DirEntry, name: bytes, child: DirEntry | int) -> None:
        if directory.length + len(name) > MAX_PATH:
            raise Unfit(f"through symbolic links, a path of {directory.length + len(name)} bytes")
        self._made += 1
        if self._made > MAX_ENTRIES:
            raise InvalidImage(f"more than {MAX_ENTRIES} entries")
        self._count(len(name))
        old = directory.children.get(name)
        if isinstance(old, DirEntry) or old in self._rows.targets:
            self._forget()
        directory.children[name] = child

    def _forget(self) -> None:
        """Forget where paths lead: one that went through what is replaced may lead elsewhere now."""
        self._known.clear()
        self._known_bytes = 0
        self._before = None

    def _linked(self, member: Member, path: bytes, directory: DirEntry, name: bytes) -> int:
        """The row of the file that a hard link, itself to be placed at `path`, leads to."""
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
            return self._rows.add_lower(member, where)
        replaced = directory.children.get(name)
        if replaced == target and holder is directory:
            raise Unfit("a hard link to itself")
        above = holder
        while above is not None and isinstance(replaced, DirEntry):
            if above is replaced:
                raise Unfit("a hard link that replaces the directory its target is in")
            above = above.parent
        if holder is not None and target not in self._rows.lower:
            self._rows.first_names.setdefault(target, (holder, last))
            self._change(target, member)
        return target

    def _change(self, file: int, link: Member) -> None:
        """Give a file the metadata of a hard link to it."""
        rows = self._rows
        had = rows.metadata(file)
        is_symlink = file in rows.targets
        kind = SYMLINK if is_symlink else REGULAR if stat.S_ISREG(rows.modes[file]) else FIFO
        xattrs = dict(rows.xattrs.get(file) or {})
        xattrs.pop(CAPABILITY, None)  # chown(2) takes it away
        xattrs |= possible(link.xattrs or {}, kind)
        if is_symlink:
            rows.set_owner(file, link, xattrs)
        else:
            rows.set_metadata(file, link, xattrs)
        if rows.metadata(file) != had:
            rows.forms[file] = OTHER_NAME

    def _made_directory(self, path: bytes, member: Member) -> tuple[DirEntry, bool]:
        """The directory at a path, made on behalf of a member below it, and whether that is its own path."""
        directory, missing, links = self._resolve(path)
        self._implied += len(missing)
        if self._implied > MAX_IMPLIED:
            raise InvalidImage(f"more than {MAX_IMPLIED} directories that it has no members for")
        for name in missing:
            made = DirEntry(directory, name, self._rows.add_implied(member.mtime_ns), is_implied=True)
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
            elif (target := self._rows.targets.get(child)) is not None:
                links += 1
                if links > _MAX_LINKS:
                    raise Unfit("too many symbolic links on the way")
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


def build_tree(members: Iterable[Member], name: str) -> Tree:
    """The tree of one layer; what is skipped is logged with `name`. Raises as `TreeBuilder.add` does."""
    log = SkipLog(name, "members")
    builder = TreeBuilder(log.report)
    builder.add(members)
    log.finish()
    tree = builder.tree()
    builder.clear()
    return tree
