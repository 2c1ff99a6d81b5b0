"""Passes over layers take turns, as each takes every core and much memory; one that is stuck holds up no other.

The pass that has the turn reports its progress. If it makes none for some seconds, as what it reads from hangs, the
next one has the turn, and the first, should it ever go on, goes on without.
"""

import time
from threading import Condition
from typing import Self

_PATIENCE = 2.0  # seconds


class Ticket:
    """A pass's turn, as long as it makes progress; a context manager that ends it."""

    def __init__(self, turn: "Turn") -> None:
        self._turn = turn
        self.moved = time.monotonic()

    def advance(self) -> None:
        """Say that the work got further."""
        self.moved = time.monotonic()

    def leave(self) -> None:
        """End the turn; doing so again does nothing."""
        self._turn.end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.leave()


class Turn:
    """Gives one ticket at a time; to one that does not get on for `patience` seconds it pays no more heed."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._changed = Condition()
        self._current: Ticket | None = None

    def take(self) -> Ticket:
        """The next ticket, once it is due."""
        with self._changed:
            while (left := self._left()) > 0:
                self._changed.wait(left)
            self._current = Ticket(self)
            return self._current

    def try_take(self) -> Ticket | None:
        """A ticket if one is due now."""
        with self._changed:
            if self._left() > 0:
                return None
            self._current = Ticket(self)
            return self._current

    def end(self, ticket: Ticket) -> None:
        """Take a ticket back."""
        with self._changed:
            if self._current is ticket:
                self._current = None
                self._changed.notify()

    def _left(self) -> float:
        """Seconds until the next ticket is due at the latest."""
        return self._current.moved + self._patience - time.monotonic() if self._current else 0
