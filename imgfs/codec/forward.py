"""The decoded view of a blob that has no seek table: good for reading in order.

One decoder moves forward; a read too far behind it starts again from the beginning.
"""

from threading import Lock

from imgfs.blob import Blob
from imgfs.codec.codec import Codec
from imgfs.codec.compression import Compression
from imgfs.codec.run import Run
from imgfs.codec.seek_table import START
from imgfs.codec.table import CODECS

KEPT_SIZE = 4 << 20
"""Decoded bytes that stay readable behind the decoder."""


def open_forward(blob: Blob, compression: Compression) -> Blob:
    """The decoded bytes of `blob`, which closes with the view. Nothing is read yet.

    The size is unknown until a read came to the end; asking for it decodes everything. Reads raise Corrupt
    where the stored bytes are, and again whenever they get there.
    """
    if compression is Compression.PLAIN:
        return blob
    return _ForwardBlob(blob, CODECS[compression])


class _ForwardBlob(Blob):
    def __init__(self, blob: Blob, codec: Codec) -> None:
        self._blob = blob
        self._codec = codec
        self._lock = Lock()
        self._known_size: int | None = None
        self._run = self._start()

    @property
    def size(self) -> int:
        with self._lock:
            if self._known_size is None:
                run = self._run_for(self._run.position)
                while run.advance():
                    pass
                self._known_size = run.position
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
            run = self._run_for(offset)
            data = run.read(size, offset)
            if len(data) < size:
                self._known_size = run.position
            return data

    def close(self) -> None:
        with self._lock:
            self._blob.close()

    def _run_for(self, offset: int) -> Run:
        if offset < self._run.kept_from or self._run.failed:
            self._run = self._start()
        return self._run

    def _start(self) -> Run:
        return Run(self._codec.enter(self._blob, START), START.offset, KEPT_SIZE)
