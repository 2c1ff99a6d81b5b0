"""How long work reports its progress.

Tried by the tests of what reports it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """Shows how far pieces of work have come."""

    def __call__(self, label: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Begin a piece of work of `total` bytes; what it yields is called with the bytes done since."""


@contextmanager
def no_progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Progress that is not shown."""
    yield lambda count: None
