"""An index that is being built, and the decoded bytes that readers take from it meanwhile.

A thread runs the pass and appends what it decodes to a copy in the cache, as long as there is room. Readers are
served from the copy as soon as it reaches them.
"""

import errno
from collections.abc import Callable
from threading import Condition, Thread

from imgfs.errors import Corrupt
from imgfs.layers.copy import Copy
from imgfs.layers.survey import Findings, Survey
from imgfs.layers.turn import Ticket, Turn


class Building:
    """A pass that runs in a thread of its own, shared by all who wait for it.

    `copy` takes the decoded bytes, and is closed at the end. `turn` is held while the pass runs. When it succeeds,
    `finish` is called in its thread, with what was found and the copy if it is whole; `end` in any case, with what
    went wrong, before those who wait hear of it.
    """

    def __init__(
        self,
        survey: Survey,
        copy: Copy | None,
        turn: Turn,
        finish: Callable[[Findings, Copy | None], None],
        end: Callable[[Exception | None], None],
    ) -> None:
        self._survey = survey
        self._whole = self._copy = copy
        self._turn = turn
        self._finish = finish
        self._end = end
        self._changed = Condition()
        self._position = 0  # how far readers may look; behind what the survey has seen
        self._ticket: Ticket | None = None
        self._done = False
        self._followers = 0  # readers that are served at the moment
        self._error: Exception | None = None
        self._thread = Thread(target=self._run, name="imgfs indexing", daemon=True)

    def start(self) -> None:
        """Begin, at once unless another pass has the turn. Raises OSError if the system has no more threads."""
        self._ticket = self._turn.try_take()
        try:
            self._thread.start()
        except RuntimeError as error:
            out_of_threads = OSError(errno.EAGAIN, f"{error}")
            self._conclude(out_of_threads)
            raise out_of_threads from None

    def cancel(self) -> None:
        """Make it stop soon, unless it is all but done."""
        self._survey.cancel()

    def join(self) -> None:
        """Wait until its thread has ended."""
        self._thread.join()

    @property
    def position(self) -> int:
        """How many decoded bytes there are by now."""
        return self._position

    @property
    def readable(self) -> bool:
        """Whether readers can follow it now; if not, they can only wait for the end."""
        return self._ticket is not None and self._copy is not None

    def wait(self) -> None:
        """Wait until the pass is over. Raises what it failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._done)
        self._raise_error()

    def ending_before(self, limit: int) -> int | None:
        """As `TarBlob.ending_before`, as soon as that much is decoded."""
        with self._changed:
            self._changed.wait_for(lambda: self._done or self._position >= limit)
            self._raise_error()
        ending = self._survey.scanner.ending
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
                        self._copy = None  # somebody has cut it off
                    return data
                self._raise_error()
                return None
            finally:
                self._followers -= 1
                self._changed.notify_all()

    def _raise_error(self) -> None:
        if self._error is not None:
            # a new one each time, as many threads may raise it
            raise Corrupt(str(self._error)) from self._error

    def _run(self) -> None:
        error: Exception | None = None
        try:
            findings = self._survey_in_turn()
            self._finish(findings, self._copy)
        except Exception as caught:  # handed to whoever waits
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

    def _survey_in_turn(self) -> Findings:
        if self._ticket is None:
            self._ticket = self._turn.take()
        with self._ticket:
            return self._survey.run(self._take)

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
