"""Inode numbers: one for each node that the kernel refers to, the same for the same node at all times.

The number is a hash of the node's key, so it stays the same after the node was forgotten, and after remounting; that
of a node of a table is a hash of the table's key, and the node's position in it. The kernel counts references; when
it drops the last one, the node goes. Of a table one count is kept, and no object for each node.
"""

import hashlib
from functools import lru_cache

import pyfuse3

from imgfs.view import Node, NodeTable

_TABLE = 1 << 62  # set in the numbers of nodes of tables, and in no others
_POSITION_BITS = 32
_POSITION = (1 << _POSITION_BITS) - 1


class _Entry:
    __slots__ = ("count", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.count = 0


class _TableEntry:
    __slots__ = ("count", "pushed", "table")

    def __init__(self, table: NodeTable) -> None:
        self.table = table
        self.count = 0
        self.pushed = bytearray()  # a bit for each node


class Inodes:
    """The nodes that the kernel refers to, by number. Not thread-safe: only the event loop uses it."""

    def __init__(self, root: Node) -> None:
        self._entries = {pyfuse3.ROOT_INODE: _Entry(root)}
        self._tables: dict[int, _TableEntry] = {}
        self._root_key = root.key

    def __len__(self) -> int:
        return len(self._entries) + len(self._tables)

    def number(self, node: Node) -> int:
        """The node's number. Two keys with the same hash get different ones while the kernel refers to both."""
        if node.table is not None:
            return self.first_number(node.table) | node.number
        return self.number_of(node.key)

    def number_of(self, key: str) -> int:
        """The number of the node with a key, which is of no table."""
        if key == self._root_key:
            return pyfuse3.ROOT_INODE
        number = _hash(key)
        while (entry := self._entries.get(number)) is not None and entry.node.key != key:
            number = _next(number)
        return number

    def first_number(self, table: NodeTable) -> int:
        """The number of the node at position 0 of a table; those of the others follow it."""
        return self._table_number(table) << _POSITION_BITS

    def add_reference(self, node: Node) -> int:
        """Count one more reference of the kernel to `node`; returns its number."""
        number = self.number(node)
        if node.table is not None:
            self._table_entry(node.table).count += 1
            return number
        entry = self._entries.get(number)
        if entry is None:
            entry = self._entries[number] = _Entry(node)
        entry.node = node
        entry.count += 1
        return number

    def add_references(self, table: NodeTable, count: int) -> None:
        """Count `count` more references of the kernel to nodes of a table."""
        self._table_entry(table).count += count

    def forget(self, number: int, count: int) -> None:
        """Count `count` references less to the node with a number."""
        if number & _TABLE:
            table = self._tables.get(number >> _POSITION_BITS)
            if table is not None:
                table.count -= count
                if table.count <= 0:
                    del self._tables[number >> _POSITION_BITS]
            return
        entry = self._entries.get(number)
        if entry is None or number == pyfuse3.ROOT_INODE:
            return
        entry.count -= count
        if entry.count <= 0:
            del self._entries[number]

    def refers_to(self, table: NodeTable) -> bool:
        """Whether the kernel refers to nodes of a table."""
        return self._table_number(table) in self._tables

    def mark_pushed(self, number: int) -> bool:
        """Note that the content of a node of a table is sent to the kernel; returns False if it was before.

        False for a node of no table as well: only tables note it.
        """
        table = self._tables.get(number >> _POSITION_BITS)
        if table is None:
            return False
        byte, bit = divmod(number & _POSITION, 8)
        if byte >= len(table.pushed):
            table.pushed.extend(bytes(byte + 1 - len(table.pushed)))
        if table.pushed[byte] >> bit & 1:
            return False
        table.pushed[byte] |= 1 << bit
        return True

    def __getitem__(self, number: int) -> Node | NodeTable:
        """The node with a number that the kernel refers to, or its table if that is not loaded."""
        if not number & _TABLE:
            return self._entries[number].node
        table = self._tables[number >> _POSITION_BITS].table
        return table.node(number & _POSITION) or table

    def lacks_xattrs(self, number: int) -> bool:
        """Whether it is known, without making it, that a node has no extended attributes."""
        entry = self._tables.get(number >> _POSITION_BITS)
        return entry is not None and entry.table.lacks_xattrs(number & _POSITION)

    def _table_entry(self, table: NodeTable) -> _TableEntry:
        number = self._table_number(table)
        entry = self._tables.get(number)
        if entry is None:
            entry = self._tables[number] = _TableEntry(table)
        entry.table = table
        return entry

    def _table_number(self, table: NodeTable) -> int:
        number = _table_hash(table.key)
        while (entry := self._tables.get(number)) is not None and entry.table.key != table.key:
            number = (_TABLE >> _POSITION_BITS) | (number + 1) % (_TABLE >> _POSITION_BITS)
        return number


@lru_cache(maxsize=1024)
def _table_hash(key: str) -> int:
    """The upper half of the numbers of a table's nodes."""
    return (_TABLE >> _POSITION_BITS) | _hash(key) >> _POSITION_BITS


def _hash(key: str) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return max(int.from_bytes(digest, "little") % _TABLE, pyfuse3.ROOT_INODE + 1)


def _next(number: int) -> int:
    return max((number + 1) % _TABLE, pyfuse3.ROOT_INODE + 1)
