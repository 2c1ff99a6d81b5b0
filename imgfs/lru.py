"""A bounded mapping from which the values used least recently are dropped. What a value weighs is up to its user."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRU(Generic[K, V]):
    """Values that weigh at most `limit` together, or one that alone weighs more. Safe to use from several threads.

    `weigh` returns the weight of a value when it is put here; by default each weighs 1. What is dropped to make room
    is returned to the caller, to be closed where that is due.
    """

    def __init__(self, limit: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        self._limit = limit
        self._weigh = weigh
        self._weight = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._values)

    @property
    def weight(self) -> int:
        """What all values weigh together."""
        with self._lock:
            return self._weight

    def get(self, key: K) -> V | None:
        """The value under a key, which counts as used now; None if there is none."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V) -> list[V]:
        """Keep a value, which counts as used now, in place of any under its key; returns those that are dropped."""
        weight = self._weigh(value)
        with self._lock:
            dropped = [self._remove(key)] if key in self._values else []
            self._values[key] = value, weight
            self._weight += weight
            while self._weight > self._limit and len(self._values) > 1:
                dropped.append(self._remove(next(iter(self._values))))
            return dropped

    def pop(self, key: K) -> V | None:
        """Drop and return the value under a key; None if there is none."""
        with self._lock:
            return self._remove(key) if key in self._values else None

    def pop_all(self, where: Callable[[K], bool] = lambda _: True) -> list[V]:
        """Drop and return all values, or those under keys for which `where` is true."""
        with self._lock:
            return [self._remove(key) for key in list(self._values) if where(key)]

    def _remove(self, key: K) -> V:
        value, weight = self._values.pop(key)
        self._weight -= weight
        return value
