"""Bolt databases made in code, sound ones and others. Format: bbolt, page.go, meta.go, bucket.go."""

import struct
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Tree: TypeAlias = "Mapping[bytes, bytes | Tree]"
Entry = tuple[int, bytes, bytes]  # flags, key, value

LEAF, BRANCH, META = 2, 1, 4
INLINE = 1024  # a bucket whose leaf is no larger lies inside the one above


def fnv1a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def description(number: int, root: int, pages: int, transaction: int, page_size: int = 4096) -> bytes:
    """One of the first two pages."""
    data = struct.pack("=IIIIQQQQQ", 0xED0CDAED, 2, page_size, 0, root, 0, 2, pages, transaction)
    data = struct.pack("=QHHI", number, META, 0, 0) + data + struct.pack("=Q", fnv1a(data))
    return data.ljust(page_size, b"\0")


def leaf(number: int, entries: Sequence[Entry], page_size: int = 0) -> bytes:
    """A leaf page and those it runs on for; without a page size just its bytes."""
    heads, body = b"", b""
    for place, (flags, key, value) in enumerate(entries):
        position = (len(entries) - place) * 16 + len(body)
        heads += struct.pack("=IIII", flags, position, len(key), len(value))
        body += key + value
    return _page(number, LEAF, len(entries), heads + body, page_size)


def branch(number: int, children: Sequence[tuple[bytes, int]], page_size: int) -> bytes:
    """A branch page."""
    heads, body = b"", b""
    for place, (key, child) in enumerate(children):
        heads += struct.pack("=IIQ", (len(children) - place) * 16 + len(body), len(key), child)
        body += key
    return _page(number, BRANCH, len(children), heads + body, page_size)


def bucket(root: int) -> bytes:
    """The value that stands for a bucket with a page of its own."""
    return struct.pack("=QQ", root, 0)


def database(*pages: bytes, root: int = 3, transaction: int = 7, page_size: int = 4096) -> bytes:
    """A database whose pages from 3 on are these; page 2 is where the list of free pages would be."""
    body = b"".join(page.ljust(-(-len(page) // page_size) * page_size, b"\0") for page in pages)
    count = 3 + len(body) // page_size
    head = [description(n, root, count, transaction - 1 + n, page_size) for n in (0, 1)]
    return b"".join(head) + bytes(page_size) + body


def database_of(tree: Tree, page_size: int = 4096, fan_out: int = 8, transaction: int = 7) -> bytes:
    """A sound database that holds a tree, buckets of more than `fan_out` entries spread over several pages."""
    pages: list[bytes] = []

    def number() -> int:
        return 3 + sum(len(page) for page in pages) // page_size

    def entries(inside: Tree) -> list[Entry]:
        return [
            (0, key, value) if isinstance(value, bytes) else (1, key, place(value))
            for key, value in sorted(inside.items())
        ]

    def place(inside: Tree) -> bytes:
        content = entries(inside)
        whole = leaf(0, content)
        if len(whole) <= INLINE and all(not flags or value[:8] == bytes(8) for flags, _, value in content):
            return bucket(0) + whole
        return bucket(spread(content))

    def spread(content: list[Entry]) -> int:
        level = []
        for start in range(0, max(1, len(content)), fan_out):
            part = content[start : start + fan_out]
            level.append((part[0][1] if part else b"", number()))
            pages.append(leaf(number(), part, page_size))
        while len(level) > 1:
            above = []
            for start in range(0, len(level), fan_out):
                above.append((level[start][0], number()))
                pages.append(branch(number(), level[start : start + fan_out], page_size))
            level = above
        return level[0][1]

    root = spread(entries(tree))
    return database(*pages, root=root, page_size=page_size, transaction=transaction)


def _page(number: int, flags: int, count: int, body: bytes, page_size: int) -> bytes:
    size = 16 + len(body)
    more = -(-size // page_size) - 1 if page_size else 0
    page = struct.pack("=QHHI", number, flags, count, more) + body
    return page.ljust((more + 1) * page_size, b"\0")
