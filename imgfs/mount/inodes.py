"""Inode numbers: a number for each node the kernel knows, the same for the same node at every time.

The number is a hash of the node's key, so it survives being forgotten, and remounting; that of a node of a table is
a hash of the table's key and the node's place in it. The kernel counts its references; when it forgets the last one,
the node goes, and of a table nothing is kept for a node at all.
"""

import hashlib
from functools import lru_cache

import pyfuse3

from imgfs.view import Node, NodeTable

_TABLE = 1 << 62  # set in the numbers of nodes of tables, and in no others
_PLACE_BITS = 32


class _Entry:
    __slots__ = ("count", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.count = 0


class _TableEntry:
    __slots__ = ("count", "given", "table")

    def __init__(self, table: NodeTable) -> None:
        self.table = table
        self.count = 0
        self.given = bytearray()  # a bit for each node


class Inodes:
    """The nodes that the kernel holds, by number. Not safe for several threads: the event loop alone uses it."""

    def __init__(self, root: Node) -> None:
        self._entries = {pyfuse3.ROOT_INODE: _Entry(root)}
        self._tables: dict[int, _TableEntry] = {}
        self._root_key = root.key

    def __len__(self) -> int:
        return len(self._entries) + len(self._tables)

    def number(self, node: Node) -> int:
        """The node's number. Two keys with the same hash get different ones while the kernel knows both."""
        if node.table is not None:
            return self._table_number(node.table) << _PLACE_BITS | node.number
        if node.key == self._root_key:
            return pyfuse3.ROOT_INODE
        number = _hash(node.key)
        while (entry := self._entries.get(number)) is not None and entry.node.key != node.key:
            number = _next(number)
        return number

    def remember(self, node: Node) -> int:
        """The node's number, which the kernel holds once more from now on."""
        number = self.number(node)
        if node.table is not None:
            self._entry(node.table).count += 1
            return number
        entry = self._entries.get(number)
        if entry is None:
            entry = self._entries[number] = _Entry(node)
        entry.node = node
        entry.count += 1
        return number

    def base(self, table: NodeTable) -> int:
        """What makes a node's number of its place in a table, added to that."""
        return self._table_number(table) << _PLACE_BITS

    def remember_some(self, table: NodeTable, count: int) -> None:
        """Note that the kernel holds nodes of a table, `count` times more than before."""
        self._entry(table).count += count

    def forget(self, number: int, count: int) -> None:
        """The kernel holds a number `count` times less."""
        if number & _TABLE:
            table = self._tables.get(number >> _PLACE_BITS)
            if table is not None:
                table.count -= count
                if table.count <= 0:
                    del self._tables[number >> _PLACE_BITS]
            return
        entry = self._entries.get(number)
        if entry is None or number == pyfuse3.ROOT_INODE:
            return
        entry.count -= count
        if entry.count <= 0:
            del self._entries[number]

    def give(self, number: int) -> bool:
        """Note that the kernel is given the content of a node of a table; False if it was given it before."""
        table = self._tables.get(number >> _PLACE_BITS)
        if table is None:
            return False
        byte, bit = divmod(number & (1 << _PLACE_BITS) - 1, 8)
        if byte >= len(table.given):
            table.given.extend(bytes(byte + 1 - len(table.given)))
        if table.given[byte] >> bit & 1:
            return False
        table.given[byte] |= 1 << bit
        return True

    def __getitem__(self, number: int) -> Node | NodeTable:
        """The node with a number that the kernel holds; its table if that is not loaded."""
        if not number & _TABLE:
            return self._entries[number].node
        table = self._tables[number >> _PLACE_BITS].table
        return table.node(number & (1 << _PLACE_BITS) - 1) or table

    def _entry(self, table: NodeTable) -> _TableEntry:
        number = self._table_number(table)
        entry = self._tables.get(number)
        if entry is None:
            entry = self._tables[number] = _TableEntry(table)
        entry.table = table
        return entry

    def _table_number(self, table: NodeTable) -> int:
        number = _table_hash(table.key)
        while (entry := self._tables.get(number)) is not None and entry.table.key != table.key:
            number = (_TABLE >> _PLACE_BITS) | (number + 1) % (_TABLE >> _PLACE_BITS)
        return number


@lru_cache(maxsize=1024)
def _table_hash(key: str) -> int:
    """The upper half of the numbers of a table's nodes."""
    return (_TABLE >> _PLACE_BITS) | _hash(key) >> _PLACE_BITS


def _hash(key: str) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return max(int.from_bytes(digest, "little") % _TABLE, pyfuse3.ROOT_INODE + 1)


def _next(number: int) -> int:
    return max((number + 1) % _TABLE, pyfuse3.ROOT_INODE + 1)
