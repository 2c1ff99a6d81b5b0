"""An iterator run in a thread of its own, a few items ahead of whoever takes them.

So that decoding and what is done with the decoded bytes each have a core.
"""

from collections.abc import Iterator
from queue import Queue
from threading import Event, Thread
from typing import Generic, Self, TypeVar

_Item = TypeVar("_Item")


class Ahead(Generic[_Item]):
    """The items of `items`, of which up to `depth` wait to be taken. A context manager; iterated over once.

    Raises what `items` raised, in its place. Leaving stops it and waits until the thread has let go of `items`.
    """

    def __init__(self, items: Iterator[_Item], depth: int) -> None:
        self._items = items
        self._queue: Queue[tuple[_Item] | BaseException | None] = Queue(depth)
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="imgfs decoding", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        while self._thread.is_alive():
            while not self._queue.empty():
                self._queue.get()
            self._thread.join(0.01)

    def __iter__(self) -> Iterator[_Item]:
        while (taken := self._queue.get()) is not None:
            if isinstance(taken, BaseException):
                raise taken
            yield taken[0]

    def _run(self) -> None:
        try:
            for item in self._items:
                self._queue.put((item,))
                if self._stopped.is_set():
                    break
            self._queue.put(None)
        except BaseException as error:  # raised again where the items are taken
            self._queue.put(error)
