"""Inode numbers: a number for each node the kernel knows, the same for the same node at every time.

The number is a hash of the node's key, so it survives being forgotten, and remounting. The kernel counts its
references; when it forgets the last one, the node goes.
"""

import hashlib

import pyfuse3

from imgfs.view import Node


class _Entry:
    __slots__ = ("count", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.count = 0


class Inodes:
    """The nodes that the kernel holds, by number. Not safe for several threads: the event loop alone uses it."""

    def __init__(self, root: Node) -> None:
        self._entries = {pyfuse3.ROOT_INODE: _Entry(root)}
        self._root_key = root.key

    def __len__(self) -> int:
        return len(self._entries)

    def number(self, node: Node) -> int:
        """The node's number. Two keys with the same hash get different ones while the kernel knows both."""
        if node.key == self._root_key:
            return pyfuse3.ROOT_INODE
        number = _hash(node.key)
        while (entry := self._entries.get(number)) is not None and entry.node.key != node.key:
            number = _next(number)
        return number

    def remember(self, node: Node) -> int:
        """The node's number, which the kernel holds once more from now on."""
        number = self.number(node)
        entry = self._entries.get(number)
        if entry is None:
            entry = self._entries[number] = _Entry(node)
        entry.node = node
        entry.count += 1
        return number

    def forget(self, number: int, count: int) -> None:
        """The kernel holds a number `count` times less."""
        entry = self._entries.get(number)
        if entry is None or number == pyfuse3.ROOT_INODE:
            return
        entry.count -= count
        if entry.count <= 0:
            del self._entries[number]

    def __getitem__(self, number: int) -> Node:
        return self._entries[number].node


def _hash(key: str) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return max(int.from_bytes(digest, "little"), pyfuse3.ROOT_INODE + 1)


def _next(number: int) -> int:
    return max((number + 1) % (1 << 64), pyfuse3.ROOT_INODE + 1)
