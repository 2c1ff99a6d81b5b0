"""Passes over layers take turns, as each takes every core and much memory; one that is stuck does not block the others.

The pass that has the turn reports its progress. If it makes none for some seconds, as when what it reads from hangs,
the next pass gets the turn, and the first continues without it if it can.
"""

import time
from threading import Condition
from typing import Self

_PATIENCE = 2.0  # seconds


class Ticket:
    """The turn of a pass, as long as the pass makes progress; a context manager that ends the turn."""

    def __init__(self, turn: "Turn") -> None:
        self._turn = turn
        self.moved = time.monotonic()

    def advance(self) -> None:
        """Report progress."""
        self.moved = time.monotonic()

    def leave(self) -> None:
        """End the turn; a second call does nothing."""
        self._turn.end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.leave()


class Turn:
    """Gives one ticket at a time; a ticket without progress for `patience` seconds no longer counts."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._changed = Condition()
        self._current: Ticket | None = None

    def take(self) -> Ticket:
        """Wait for the turn."""
        with self._changed:
            while (left := self._left()) > 0:
                self._changed.wait(left)
            self._current = Ticket(self)
            return self._current

    def try_take(self) -> Ticket | None:
        """A ticket if no other pass has the turn, else None."""
        with self._changed:
            if self._left() > 0:
                return None
            self._current = Ticket(self)
            return self._current

    def end(self, ticket: Ticket) -> None:
        """End the turn of a ticket."""
        with self._changed:
            if self._current is ticket:
                self._current = None
                self._changed.notify()

    def _left(self) -> float:
        """Seconds until the next ticket is due at the latest."""
        return self._current.moved + self._patience - time.monotonic() if self._current else 0
