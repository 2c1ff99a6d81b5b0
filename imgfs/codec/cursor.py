"""A position in a blob that moves forward, reading ahead in large steps.

Decoders take stored bytes as they come and put back those that belong to the next part of the format. No format is
known here.
"""

from imgfs.blob import Blob

READ_SIZE = 128 * 1024


class Cursor:
    """Reads `blob` from `offset` on. Not safe to share between threads."""

    def __init__(self, blob: Blob, offset: int = 0) -> None:
        self._blob = blob
        self._buffer = b""
        self._start = 0  # of the rest of the buffer
        self._buffer_offset = offset

    @property
    def offset(self) -> int:
        """Where in the blob the next byte comes from."""
        return self._buffer_offset + self._start

    def take(self, size: int) -> bytes:
        """The next `size` bytes, fewer only where the blob ends."""
        if len(self._buffer) - self._start < size:
            rest = self._buffer[self._start :]
            more = self._blob.pread(max(READ_SIZE, size - len(rest)), self.offset + len(rest))
            self._buffer_offset = self.offset
            self._buffer = rest + more if rest else more
            self._start = 0
        taken = self._buffer[self._start : self._start + size]
        self._start += len(taken)
        return taken

    def take_some(self) -> bytes:
        """At least one byte, as many as are in memory; none where the blob ends."""
        return self.take(len(self._buffer) - self._start or READ_SIZE)

    def put_back(self, size: int) -> None:
        """Step back over the last `size` bytes, all of which came from the latest `take` or `take_some`."""
        self._start -= size

    def skip(self, size: int) -> bool:
        """Step over `size` bytes without reading them; False if the blob ends before."""
        target = self.offset + size
        if target > self._blob.size:
            return False
        if target > self._buffer_offset + len(self._buffer):
            self._buffer, self._start, self._buffer_offset = b"", 0, target
        else:
            self._start += size
        return True
