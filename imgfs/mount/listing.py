"""What an open directory lists, told to the kernel in pieces.

Positions count from 0, `.` and `..` first; the kernel asks on from the one it was told last. It holds every node
that is listed, but for those two.
"""

from typing import Protocol

import pyfuse3

from imgfs.mount.attributes import Attributes
from imgfs.mount.inodes import Inodes
from imgfs.view import Directory, File, Node, Symlink, TableDirectory

_AT_ONCE = 1000  # entries; more than the kernel has room for when programs ask with the usual buffers


class Listing(Protocol):
    """A directory as it was when it was opened."""

    def reply(self, start: int, token: pyfuse3.ReaddirToken) -> None:
        """Tell as many entries as there is room for, from a position on."""


def listing(directory: Directory, inodes: Inodes, attributes: Attributes) -> Listing:
    """What `directory` lists now. Raises what listing it raises."""
    if isinstance(directory, TableDirectory):
        return _TableListing(directory, inodes, attributes)
    return _NodeListing(directory, inodes, attributes)


class _NodeListing:
    def __init__(self, directory: Directory, inodes: Inodes, attributes: Attributes) -> None:
        self._directory = directory
        self._inodes = inodes
        self._attributes = attributes
        dots: list[tuple[bytes, Node]] = [(b".", directory), (b"..", directory)]
        self._entries = [*dots, *directory.entries()]

    def reply(self, start: int, token: pyfuse3.ReaddirToken) -> None:
        for position in range(start, len(self._entries)):
            name, node = self._entries[position]
            number = self._inodes.number(node)
            entry = self._attributes.of(node, number, shown_size(node), fleeting=self._directory.mutable)
            if not pyfuse3.readdir_reply(token, name, entry, position + 1):
                return
            if position >= 2:
                self._inodes.remember(node)


class _TableListing:
    """For very many entries: no node is made, and one object carries the attributes of all."""

    def __init__(self, directory: TableDirectory, inodes: Inodes, attributes: Attributes) -> None:
        self._directory = directory
        self._base = inodes.base(directory.table)
        self._inodes = inodes
        self._attributes = attributes

    def reply(self, start: int, token: pyfuse3.ReaddirToken) -> None:
        directory, reply = self._directory, pyfuse3.readdir_reply
        if start >= directory.count + 2:
            return
        base = self._base
        entry = self._attributes.blank()  # of `.` and `..` the kernel takes the number and the type alone
        if start == 0:
            entry.st_ino = base + directory.number
            if not reply(token, b".", entry, 1):
                return
        if start <= 1:
            entry.st_ino = base + directory.parent
            if not reply(token, b"..", entry, 2):
                return
        position = first = max(start, 2)
        fill = self._attributes.fill
        for listed in directory.listed(first - 2, first - 2 + _AT_ONCE):
            fill(entry, listed, base + listed[1])
            if not reply(token, listed[0], entry, position + 1):
                break
            position += 1
        if position > first:
            self._inodes.remember_some(directory.table, position - first)


def shown_size(node: Node) -> int | None:
    """The size to show of a node: None while that of a file is not known, the target's of a symbolic link."""
    if isinstance(node, File):
        return node.known_size
    return len(node.target) if isinstance(node, Symlink) else 0
