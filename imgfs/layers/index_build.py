"""A pass over a layer that runs in a thread, and the decoded bytes that readers take from it meanwhile.

The thread appends what it decodes to a copy in the cache, as long as there is room; zeros take no room on disk.
Readers are served from the copy as soon as it reaches them.
"""

import errno
import os
from collections.abc import Callable
from threading import Condition, Thread

from imgfs.cache.cache import Cache
from imgfs.cache.partial_file import Partial
from imgfs.errors import Corrupt
from imgfs.layers.index_file import IndexData
from imgfs.layers.index_pass import IndexPass
from imgfs.layers.turn import Ticket, Turn

_BLOCK = 64 << 10
_ZEROS = bytes(_BLOCK)
_STEP = 64 << 20  # written bytes after which the cache makes room again


class DecodedCopy:
    """The decoded bytes of a layer in the file `partial` of the cache, as they are decoded.

    It grows at its end and is read anywhere before. One thread appends; no thread reads it once it is closed.
    """

    def __init__(self, cache: Cache, partial: Partial) -> None:
        self.partial = partial
        self._cache = cache
        self._size = 0
        self._written = 0

    def append(self, data: bytes | memoryview) -> bool:
        """Append the next bytes; False if the cache has no room for them, and the copy is of no more use."""
        view = memoryview(data)
        try:
            if os.fstat(self.partial.fd).st_size != self._size:
                return False  # another process has truncated it
            for start in range(0, len(view), _BLOCK):
                block = view[start : start + _BLOCK]
                if _ZEROS.startswith(block):  # compares as memcmp does, unlike ==
                    os.ftruncate(self.partial.fd, self._size + len(block))
                elif os.pwrite(self.partial.fd, block, self._size) < len(block):
                    return False
                else:
                    self._written += len(block)
                self._size += len(block)
        except OSError:
            return False  # the disk is full
        if self._written >= _STEP:
            self._written = 0
            return self._cache.make_room()
        return self._size <= self._cache.limit

    def pread(self, size: int, offset: int) -> bytes | None:
        """Bytes that were appended, or None if another process has truncated the file."""
        data = os.pread(self.partial.fd, size, offset)
        return data if len(data) == min(size, max(self._size - offset, 0)) else None

    def drop(self) -> None:
        """Give its room on disk back at once; it still has to be closed."""
        os.ftruncate(self.partial.fd, 0)

    def close(self) -> None:
        """Close the file, and remove it unless the cache keeps it."""
        self.partial.close()


class IndexBuild:
    """A pass that runs in its own thread, shared by all who wait for it.

    `copy` takes the decoded bytes, and is closed at the end. `turn` is held while the pass runs. If the pass succeeds,
    `finish` is called in its thread, with what was found and the copy if that is whole. `end` is called in any case,
    with the error if there was one, before `wait` returns.
    """

    def __init__(
        self,
        index_pass: IndexPass,
        copy: DecodedCopy | None,
        turn: Turn,
        finish: Callable[[IndexData, DecodedCopy | None], None],
        end: Callable[[Exception | None], None],
    ) -> None:
        self._pass = index_pass
        self._whole = self._copy = copy
        self._turn = turn
        self._finish = finish
        self._end = end
        self._changed = Condition()
        self._position = 0  # how far readers may look; behind what the pass has seen
        self._ticket: Ticket | None = None
        self._done = False
        self._followers = 0  # readers that are served at the moment
        self._error: Exception | None = None
        self._thread = Thread(target=self._run, name="imgfs indexing", daemon=True)

    def start(self) -> None:
        """Start, at once unless another pass has the turn. Raises OSError if the system has no more threads."""
        self._ticket = self._turn.try_take()
        try:
            self._thread.start()
        except RuntimeError as error:
            out_of_threads = OSError(errno.EAGAIN, f"{error}")
            self._conclude(out_of_threads)
            raise out_of_threads from None

    def cancel(self) -> None:
        """Make the pass stop soon, unless everything is decoded."""
        self._pass.cancel()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    @property
    def position(self) -> int:
        """How many bytes are decoded by now."""
        return self._position

    @property
    def readable(self) -> bool:
        """Whether readers can take decoded bytes now; if not, they can only wait for the end."""
        return self._ticket is not None and self._copy is not None

    @property
    def keeps_copy(self) -> bool:
        """Whether readers can take decoded bytes, as soon as they are there."""
        return self._copy is not None

    def wait(self) -> None:
        """Wait until the pass is over. Raises what it failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._done)
        self._raise_error()

    def ending_before(self, limit: int) -> int | None:
        """Return what `TarBlob.ending_before` does, as soon as that much is decoded."""
        with self._changed:
            self._changed.wait_for(lambda: self._done or self._position >= limit)
            self._raise_error()
        ending = self._pass.scanner.ending
        return ending if ending is not None and ending < limit else None

    def pread(self, size: int, offset: int) -> bytes | None:
        """Decoded bytes as soon as they are there; None if the pass is over before, or they are not kept.

        Raises what the pass failed with before it got there.
        """
        with self._changed:
            self._followers += 1
            try:
                end = offset + size
                self._changed.wait_for(lambda: self._done or self._copy is None or self._position >= end)
                if self._copy is not None and self._position >= end:
                    data = self._copy.pread(size, offset)
                    if data is None:
                        self._copy = None  # another process has truncated it
                    return data
                self._raise_error()
                return None
            finally:
                self._followers -= 1
                self._changed.notify_all()

    def _raise_error(self) -> None:
        if self._error is not None:
            # a new exception each time, as many threads may raise it
            raise Corrupt(str(self._error)) from self._error

    def _run(self) -> None:
        error: Exception | None = None
        try:
            data = self._run_in_turn()
            self._finish(data, self._copy)
        except Exception as caught:  # raised again where the pass is waited for
            error = caught
        self._conclude(error)

    def _conclude(self, error: Exception | None) -> None:
        if self._ticket is not None:
            self._ticket.leave()
        self._end(error)
        with self._changed:
            self._error = error
            self._done = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._followers)
            self._copy = None
        if self._whole is not None:
            self._whole.close()

    def _run_in_turn(self) -> IndexData:
        if self._ticket is None:
            self._ticket = self._turn.take()
        with self._ticket:
            return self._pass.run(self._take)

    def _take(self, chunk: bytes | memoryview) -> None:
        if self._ticket is not None:
            self._ticket.advance()
        copy = self._copy
        kept = copy is None or copy.append(chunk)
        with self._changed:
            if copy is not None and not kept:
                self._copy = None
                copy.drop()
            self._position += len(chunk)
            self._changed.notify_all()
