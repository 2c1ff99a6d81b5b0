"""A blob that is opened when it is first read: many make up an archive, of which a reader may want one.

Tried by the tests of tars that are read as they are made.
"""

from collections.abc import Callable
from threading import Lock

from imgfs.blob.blob import Blob
from imgfs.errors import Corrupt


class LateBlob(Blob):
    """The `size` bytes that `open_blob` opens; `name` is what errors call them.

    Reading raises what opening them raises, and Corrupt if there are more or fewer of them.
    """

    def __init__(self, name: str, size: int, open_blob: Callable[[], Blob]) -> None:
        self._name = name
        self._size = size
        self._open_blob = open_blob
        self._opened: Blob | None = None
        self._lock = Lock()

    @property
    def size(self) -> int:
        return self._size

    def pread(self, size: int, offset: int) -> bytes:
        size = min(size, self._size - offset)
        if size <= 0:
            return b""
        return self._whole(self._blob().pread(size, offset), size)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        size = min(size, self._size - offset)
        if size <= 0:
            return b""
        opened = self._opened
        data = None if opened is None else opened.try_pread(size, offset)
        return None if data is None else self._whole(data, size)

    def close(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def try_close(self) -> bool:
        opened = self._opened
        return opened is None or opened.try_close()

    def _blob(self) -> Blob:
        with self._lock:
            if self._opened is None:
                blob = self._open_blob()
                try:
                    if blob.size != self._size:
                        raise self._other(blob.size)
                except BaseException:
                    blob.close()
                    raise
                self._opened = blob
            return self._opened

    def _whole(self, data: bytes, size: int) -> bytes:
        if len(data) != size:
            raise self._other(f"{len(data)} of a read of {size}")
        return data

    def _other(self, found: object) -> Corrupt:
        return Corrupt(f"{self._name}: {found} bytes where {self._size} were expected")
