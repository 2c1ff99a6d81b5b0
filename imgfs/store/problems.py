"""What is broken in a backend or a source: each problem is logged once, and listed for as long as it lasts.

A problem may keep an image from being shown. Then it carries what is known of that image, so that it can be listed
as broken. Knows nothing of where problems are found.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import Self

logger = logging.getLogger("imgfs")

_MOST = 1000


class Problem(str):
    """One line that says what is wrong and with what.

    `image` is the ID of the image that is not shown because of it (of its config or its manifest, whichever is
    known), empty where there is none; `names` are the names that lead to that image.
    """

    __slots__ = ("image", "names")

    image: str
    names: tuple[str, ...]

    def __new__(cls, text: str, image: str = "", names: Iterable[str] = ()) -> Self:
        problem = super().__new__(cls, text)
        problem.image = image
        problem.names = tuple(names)
        return problem


class Problems:
    """The problems of the place called `place`, at most 1000 of them and a last one that says there are more."""

    def __init__(self, place: str = "") -> None:
        self._place = place
        self._logged: set[str] = set()
        self._found: dict[str, Problem] = {}

    def __iter__(self) -> Iterator[Problem]:
        return iter(list(self._found.values()))

    def __len__(self) -> int:
        return len(self._found)

    def report(self, text: str, *, image: str = "", names: Iterable[str] = ()) -> None:
        """List a problem, and log it unless that was done before."""
        if len(self._found) > _MOST or text in self._found:
            return
        if len(self._found) == _MOST:
            text, image, names = "there are more problems, which are not listed", "", ()
        self._found[text] = Problem(text, image, names)
        self.note(text)

    def note(self, text: str) -> None:
        """Log what is no problem, unless that was done before."""
        if text not in self._logged:
            self._logged.add(text)
            is_named = not self._place or text.startswith(f"{self._place}: ")
            logger.warning("%s", text if is_named else f"{self._place}: {text}")

    def begin(self) -> "Problems":
        """An empty list for another look at the same place: what is found again is not logged again."""
        again = Problems(self._place)
        again._logged.update(self._logged if len(self._logged) <= _MOST else self._found)
        return again

    def clear(self) -> None:
        """Forget all, as the place is well again."""
        self._found.clear()
        self._logged.clear()
