"""A layer's tar as a blob that knows where its end-of-archive region begins."""

import logging
from abc import abstractmethod
from threading import Lock

from imgfs.blob import Blob, WrappedBlob
from imgfs.errors import Corrupt
from imgfs.tar.scanner import Scanner

logger = logging.getLogger("imgfs")

_READ_SIZE = 64 << 10


class TarBlob(Blob):
    """The bytes of a tar."""

    @abstractmethod
    def ending_before(self, limit: int) -> int | None:
        """Where the end-of-archive region begins, if that is before `limit`; it lasts to the tar's end.

        It begins with the first zero block where a header is due. Reads only as far as needed; may
        block. Raises what `pread` raises.
        """

    def knows_ending_before(self, limit: int) -> bool:
        """Whether `ending_before(limit)` returns without blocking, now and from now on."""
        return False


class ScannedTar(WrappedBlob[Blob], TarBlob):
    """A tar whose ending is found by walking the headers of `blob`, as far as was asked for; closes `blob`.

    A tar with a damaged header has no ending: from there on its bytes are shown unchanged.
    """

    def __init__(self, blob: Blob) -> None:
        super().__init__(blob)
        self._scanner = Scanner()
        self._broken = False
        self._lock = Lock()

    def ending_before(self, limit: int) -> int | None:
        # the lock is held while reading, so it is taken only if needed
        if not self.knows_ending_before(limit):
            with self._lock:
                while not self.knows_ending_before(limit):
                    self._walk_on()
        ending = self._scanner.ending
        return ending if ending is not None and ending < limit else None

    def knows_ending_before(self, limit: int) -> bool:
        scanner = self._scanner
        return self._broken or scanner.ending is not None or min(scanner.wanted, scanner.position) >= limit

    def _walk_on(self) -> None:
        scanner = self._scanner
        scanner.skip_to(scanner.wanted)
        chunk = self._blob.pread(_READ_SIZE, scanner.position)
        try:
            if not chunk:
                self._broken = True  # the bytes end without an ending
                return
            scanner.feed(chunk)
        except Corrupt as error:
            self._broken = True
            logger.warning("a layer's tar is damaged, its ending is shown unchanged: %s", error)
