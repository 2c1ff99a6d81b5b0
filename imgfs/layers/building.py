"""An index that is being built, and the decoded bytes that readers take from it meanwhile.

A thread runs the pass and writes what it decodes into a copy in the cache, as far as that may grow. Readers are
served from the copy as soon as it reaches them.
"""

import os
from collections.abc import Callable
from threading import Condition, Lock, Thread

from imgfs.errors import Corrupt
from imgfs.layers.cache import Partial
from imgfs.layers.survey import Findings, Survey


class Building:
    """A pass that runs in a thread of its own, shared by all who wait for it.

    `copy` takes the decoded bytes, up to `copy_limit` of them. `turn` is held while the pass runs. When it succeeds,
    `finish` is called in its thread, with what was found and whether the copy is whole; `end` is called last,
    with what went wrong, and closes what the pass has used.
    """

    def __init__(
        self,
        survey: Survey,
        copy: Partial | None,
        copy_limit: int,
        turn: Lock,
        finish: Callable[[Findings, bool], None],
        end: Callable[[Exception | None], None],
    ) -> None:
        self._survey = survey
        self._copy = copy
        self._copy_limit = copy_limit
        self._turn = turn
        self._finish = finish
        self._end = end
        self._changed = Condition()
        self._position = 0  # how far readers may look; behind what the survey has seen
        self._done = False
        self._error: Exception | None = None
        self._thread = Thread(target=self._run, name="imgfs indexing", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop, and wait until it has."""
        self._survey.cancel()
        self._thread.join()

    @property
    def position(self) -> int:
        """How many decoded bytes there are by now."""
        return self._position

    @property
    def readable(self) -> bool:
        """Whether readers can follow; if not, they can only wait for the end."""
        return self._copy is not None

    def wait(self) -> None:
        """Wait until the pass is over. Raises what it failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._done)
        self._raise_error()

    def ending_before(self, limit: int) -> int | None:
        """As `TarBlob.ending_before`, as soon as that much is decoded."""
        self._reach(limit)
        ending = self._survey.scanner.ending
        return ending if ending is not None and ending < limit else None

    def pread(self, size: int, offset: int) -> bytes | None:
        """Decoded bytes as soon as they are there; None once the pass is over, or if they are not kept.

        Raises what the pass failed with before it got there.
        """
        self._reach(offset + size)
        with self._changed:  # so that the copy is not given up meanwhile
            if self._done or self._copy is None:
                return None
            return os.pread(self._copy.fd, size, offset)

    def _reach(self, offset: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._done or self._copy is None or self._position >= offset)
        if self._done:
            self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            # a new one each time, as many threads may raise it
            raise Corrupt(str(self._error)) from self._error

    def _run(self) -> None:
        error: Exception | None = None
        try:
            with self._turn:
                findings = self._survey.run(self._take)
            self._finish(findings, self._copy is not None)
        except Exception as caught:  # handed to whoever waits
            error = caught
        with self._changed:
            self._error = error
            self._done = True
            self._changed.notify_all()
        self._end(error)

    def _take(self, chunk: bytes | memoryview) -> None:
        end = self._position + len(chunk)
        if self._copy is not None and (end > self._copy_limit or not self._write(self._copy.fd, chunk)):
            with self._changed:
                self._copy = None
        with self._changed:
            self._position = end
            self._changed.notify_all()

    def _write(self, fd: int, chunk: bytes | memoryview) -> bool:
        try:
            return os.pwrite(fd, chunk, self._position) == len(chunk)
        except OSError:
            return False  # the disk is full; readers do without
