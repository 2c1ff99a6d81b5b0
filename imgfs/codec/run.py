"""A decoder that stands somewhere in the decoded bytes and moves forward.

The bytes decoded last stay readable behind it, which covers the kernel's slightly shuffled read-ahead.
Not for several threads at once; who owns a run locks it.
"""

from collections import deque
from collections.abc import Iterator

from imgfs.codec.chunks import gather
from imgfs.errors import Corrupt

_CHUNK_SIZE = 128 << 10


class Run:
    """Decoded bytes from `start` on, which `chunks` yields in order.

    The last `kept_size` bytes stay readable, and a chunk more at times.
    """

    def __init__(self, chunks: Iterator[bytes], start: int, kept_size: int) -> None:
        self._chunks = gather(chunks, _CHUNK_SIZE)
        self._kept_size = kept_size
        self._kept: deque[bytes] = deque()
        self._failure: BaseException | None = None
        self.kept_from = start
        """The decoded offset before which bytes are gone."""
        self.position = start
        """The decoded offset that the decoder has come to."""

    @property
    def failed(self) -> bool:
        """Whether decoding on is impossible for now: what was raised was not about the bytes."""
        return self._failure is not None and not isinstance(self._failure, Corrupt)

    def read(self, size: int, offset: int) -> bytes:
        """Read `size` bytes at `offset`; fewer where the data ends.

        Raises ValueError if `offset` is before `kept_from`; Corrupt, and again if it did before; and what
        reading stored bytes raises.
        """
        if offset < self.kept_from:
            raise ValueError(f"bytes at {offset} are gone, those from {self.kept_from} on are left")
        pieces = []
        while size > 0:
            if offset < self.position:
                # taken now, before going on pushes it out
                piece = self._kept_bytes(size, offset)
                pieces.append(piece)
                offset += len(piece)
                size -= len(piece)
            elif not self.advance():
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def holds(self, size: int, offset: int) -> bool:
        """Whether those bytes are decoded already, and kept."""
        return self.kept_from <= offset and offset + size <= self.position

    def advance(self) -> bool:
        """Decode one more chunk; False at the end. Raises as `read` does."""
        if self._failure is not None:
            raise Corrupt(str(self._failure))
        try:
            chunk = next(self._chunks, None)
        except BaseException as error:
            self._failure = error  # the generator is spent now and would look as if the data had ended
            raise
        if chunk is None:
            return False
        self._kept.append(chunk)
        self.position += len(chunk)
        while self.position - self.kept_from - len(self._kept[0]) >= self._kept_size:
            self.kept_from += len(self._kept.popleft())
        return True

    def _kept_bytes(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset` on, which lies among those kept, within one chunk."""
        start = self.kept_from
        for chunk in self._kept:
            if offset < start + len(chunk):
                return chunk[offset - start : offset - start + size]
            start += len(chunk)
        raise AssertionError("offset lies among the kept chunks")
