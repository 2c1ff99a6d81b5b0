"""Streams of chunks of bytes cut differently: joined to be worth handling, or without their beginning."""

from collections.abc import Iterator
from typing import TypeVar

_Chunk = TypeVar("_Chunk", bytes, memoryview)


def gather(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in chunks of at least `size`, the last one aside; larger ones pass through whole."""
    pieces: list[bytes] = []
    held = 0
    for chunk in chunks:
        pieces.append(chunk)
        held += len(chunk)
        if held >= size:
            yield b"".join(pieces)  # of one piece, join copies nothing
            pieces.clear()
            held = 0
    if held:
        yield b"".join(pieces)


def skip(chunks: Iterator[_Chunk], size: int) -> Iterator[_Chunk]:
    """What comes after the first `size` bytes."""
    for chunk in chunks:
        if size < len(chunk):
            yield chunk[size:] if size else chunk
            size = 0
        else:
            size -= len(chunk)
