"""How what reads a place reports what is broken there and skipped."""

from collections.abc import Iterable
from typing import Protocol


class Report(Protocol):
    """Takes a problem in one line; see `imgfs.store.problems`."""

    def __call__(self, text: str, *, image: str = "", names: Iterable[str] = ()) -> None:
        """Report a problem; `image` is the ID of what is not shown because of it, `names` are its names."""
