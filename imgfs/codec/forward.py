"""The decoded view of a blob that has no seek table: good for reading in order.

One decoder moves forward; a read too far behind it starts again from the beginning. The bytes decoded last stay
readable behind a decoder, which serves the kernel's slightly reordered read-ahead.
"""

from collections import deque
from collections.abc import Iterator
from threading import Lock

from imgfs.blob import Blob
from imgfs.codec.codec import Codec, gather
from imgfs.codec.compression import Compression
from imgfs.codec.seek_table import START
from imgfs.errors import Corrupt

_CHUNK_SIZE = 128 << 10
_KEPT_SIZE = 4 << 20  # decoded bytes that stay readable behind the decoder


def open_forward(blob: Blob, compression: Compression) -> Blob:
    """The decoded bytes of `blob`, which closes with the view. Nothing is read yet.

    The size is unknown until a read has reached the end; asking for it decodes everything. A read that reaches
    corrupt stored bytes raises Corrupt, each time.
    """
    return blob if compression is Compression.PLAIN else _ForwardBlob(blob, compression.codec)


class DecodeWindow:
    """The decoded bytes from `start` on, which `chunks` yields in order.

    The last `kept_size` bytes stay readable, at times up to one chunk more. Not safe for several threads: the owner
    locks it.
    """

    def __init__(self, chunks: Iterator[bytes], start: int, kept_size: int) -> None:
        self._chunks = gather(chunks, _CHUNK_SIZE)
        self._kept_size = kept_size
        self._kept: deque[bytes] = deque()
        self._failure: BaseException | None = None
        self.kept_from = start
        """The decoded offset before which bytes are gone."""
        self.position = start
        """The decoded offset that the decoder has reached."""

    @property
    def failed(self) -> bool:
        """Whether a read of stored bytes failed, so that another decoder has to try again; false for Corrupt."""
        return self._failure is not None and not isinstance(self._failure, Corrupt)

    def read(self, size: int, offset: int) -> bytes:
        """Read `size` bytes at `offset`; fewer where the data ends.

        Raises ValueError if `offset` is before `kept_from`, Corrupt for corrupt bytes and on every read after that,
        and what reading stored bytes raises.
        """
        if offset < self.kept_from:
            raise ValueError(f"bytes at {offset} are gone, those from {self.kept_from} on are left")
        pieces = []
        while size > 0:
            if offset < self.position:
                # taken now, before decoding more drops it
                piece = self._kept_bytes(size, offset)
                pieces.append(piece)
                offset += len(piece)
                size -= len(piece)
            elif not self.advance():
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def holds(self, size: int, offset: int) -> bool:
        """Whether those bytes are decoded and kept."""
        return self.kept_from <= offset and offset + size <= self.position

    def advance(self) -> bool:
        """Decode one more chunk; False at the end. Raises as `read` does."""
        if self._failure is not None:
            raise Corrupt(str(self._failure))
        try:
            chunk = next(self._chunks, None)
        except BaseException as error:
            self._failure = error  # the generator is exhausted now, which would look like the end of the data
            raise
        if chunk is None:
            return False
        self._kept.append(chunk)
        self.position += len(chunk)
        while self.position - self.kept_from - len(self._kept[0]) >= self._kept_size:
            self.kept_from += len(self._kept.popleft())
        return True

    def _kept_bytes(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset` on, which is among those kept, within one chunk."""
        start = self.kept_from
        for chunk in self._kept:
            if offset < start + len(chunk):
                return chunk[offset - start : offset - start + size]
            start += len(chunk)
        raise AssertionError("the offset is not among the kept chunks")


class _ForwardBlob(Blob):
    def __init__(self, blob: Blob, codec: Codec) -> None:
        self._blob = blob
        self._codec = codec
        self._lock = Lock()
        self._known_size: int | None = None
        self._window = self._start()

    @property
    def size(self) -> int:
        with self._lock:
            if self._known_size is None:
                window = self._window_for(self._window.position)
                while window.advance():
                    pass
                self._known_size = window.position
            return self._known_size

    @property
    def known_size(self) -> int | None:
        return self._known_size

    def pread(self, size: int, offset: int) -> bytes:
        if self._known_size is not None:
            size = min(size, self._known_size - offset)
        if size <= 0:
            return b""
        with self._lock:
            window = self._window_for(offset)
            data = window.read(size, offset)
            if len(data) < size:
                self._known_size = window.position
            return data

    def close(self) -> None:
        with self._lock:
            self._blob.close()

    def _window_for(self, offset: int) -> DecodeWindow:
        if offset < self._window.kept_from or self._window.failed:
            self._window = self._start()
        return self._window

    def _start(self) -> DecodeWindow:
        return DecodeWindow(self._codec.decode_from(self._blob, START), START.offset, _KEPT_SIZE)
