"""A lock that is given in the order in which it was asked for.

Readers of a stream ask in the order of their offsets, nearly; served in another order, one decoder would have to
go back for each that came too late.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Place:
    """A place in the line."""

    def __init__(self) -> None:
        self.lock = Lock()  # held while it is not this one's turn


class Turns:
    """Held by one thread at a time; whoever joined first is next."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held = False
        self._waiting: deque[Place] = deque()

    def join(self) -> Place:
        """Take a place in the line; what is answered is for `taking`, which has to follow."""
        place = Place()
        with self._lock:
            if self._held:
                place.lock.acquire()
                self._waiting.append(place)
            self._held = True
        return place

    def try_join(self) -> Place | None:
        """Take a place if it is the first, else None."""
        with self._lock:
            if self._held:
                return None
            self._held = True
        return Place()

    @contextmanager
    def taking(self, place: Place) -> Iterator[None]:
        """Wait for the turn of a place, and end it afterwards."""
        place.lock.acquire()
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:
                    self._waiting.popleft().lock.release()
                else:
                    self._held = False
