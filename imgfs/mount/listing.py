"""The entries of an open directory, sent to the kernel in pieces.

Positions count from 0, with `.` and `..` first; the kernel continues after the last one that it was sent. It holds a
reference to each node that is sent, except those two.
"""

from typing import Protocol

import pyfuse3

from imgfs.mount.attributes import Attributes, known_size
from imgfs.mount.inodes import Inodes
from imgfs.view import Directory, Node, TableDirectory

_AT_ONCE = 1000  # entries; more than the kernel has room for when programs ask with the usual buffers


class Listing(Protocol):
    """A directory as it was when it was opened."""

    outdated: bool
    """Set when names are gone or lead elsewhere: the kernel keeps what it is sent, so it is sent what is so by now."""

    def reply(self, start: int, token: pyfuse3.ReaddirToken) -> None:
        """Send as many entries as there is room for, from position `start` on."""


def listing(directory: Directory, inodes: Inodes, attributes: Attributes) -> Listing:
    """The present entries of `directory`. Raises what listing it raises."""
    if isinstance(directory, TableDirectory):
        return _TableListing(directory, inodes, attributes)
    return _NodeListing(directory, inodes, attributes)


class _NodeListing:
    outdated = False

    def __init__(self, directory: Directory, inodes: Inodes, attributes: Attributes) -> None:
        self._inodes = inodes
        self._attributes = attributes
        dots: list[tuple[bytes, Node]] = [(b".", directory), (b"..", directory)]
        self._directory = directory
        self._entries: list[tuple[bytes, Node | None]] = [*dots, *directory.entries()]

    def reply(self, start: int, token: pyfuse3.ReaddirToken) -> None:
        if self.outdated:
            self._update()
        for position in range(start, len(self._entries)):
            name, node = self._entries[position]
            if node is None:
                continue
            number = self._inodes.number(node)
            entry = self._attributes.of(node, number, known_size(node))
            if not pyfuse3.readdir_reply(token, name, entry, position + 1):
                return
            if position >= 2:
                self._inodes.add_reference(node)

    def _update(self) -> None:
        """Take what each name leads to by now, nothing where it is gone; all keep their positions."""
        self.outdated = False
        present = dict(self._directory.entries())
        self._entries[2:] = [(name, present.get(name)) for name, _ in self._entries[2:]]


class _TableListing:
    """For directories with very many entries: makes no nodes, and reuses one object for the attributes of all."""

    outdated = False

    def __init__(self, directory: TableDirectory, inodes: Inodes, attributes: Attributes) -> None:
        self._directory = directory
        self._first_number = inodes.first_number(directory.table)
        self._inodes = inodes
        self._attributes = attributes

    def reply(self, start: int, token: pyfuse3.ReaddirToken) -> None:
        directory, reply = self._directory, pyfuse3.readdir_reply
        if start >= directory.count + 2:
            return
        first_number = self._first_number
        entry = self._attributes.blank()  # of `.` and `..` the kernel takes only the number and the type
        if start == 0:
            entry.st_ino = first_number + directory.number
            if not reply(token, b".", entry, 1):
                return
        if start <= 1:
            entry.st_ino = first_number + directory.parent
            if not reply(token, b"..", entry, 2):
                return
        position = first = max(start, 2)
        fill = self._attributes.fill
        for listed in directory.listed(first - 2, first - 2 + _AT_ONCE):
            fill(entry, listed, first_number + listed[1])
            if not reply(token, listed[0], entry, position + 1):
                break
            position += 1
        if position > first:
            self._inodes.add_references(directory.table, position - first)
