"""Calls that are made once for all threads that want the same at the same time, as by Go's package singleflight."""

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

from imgfs.errors import raise_again

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Calls by key. While one is made, other threads with its key wait for its outcome, so that all fail together.

    Nothing is kept once it has ended. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: dict[K, Future[V]] = {}

    def call(self, key: K, make: Callable[[], V]) -> V:
        """What `make` returns, called by this thread or by the one that is calling for `key`. Raises what that raises.

        `make` may be called again for a thread that comes just after another has ended, so it looks at what is kept.
        """
        with self._lock:
            running = self._running.get(key)
            if running is None:
                mine = self._running[key] = Future[V]()
        if running is not None:
            error = running.exception()
            if error is not None:
                raise_again(error)
            return running.result()
        try:
            value = make()
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(value)
            return value
        finally:
            with self._lock:
                del self._running[key]
