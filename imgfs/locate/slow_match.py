"""A limit on how long a pattern may take to be compared with one path.

Regular expressions of Python, by which globs are compared too, try all ways to match: for some patterns and names, such
as `f(a+)+$` and a long name of `a`, those are more than can be tried in years. While it tries, Python runs the handlers
of signals, so that a timer can end that. Tried by the tests of `imgfs locate`.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from imgfs.errors import TooMuch, printable
from imgfs.locate.pattern import Pattern

SECONDS = 3.0
"""The least time after which comparing with one path is given up; the most is twice that."""


@contextmanager
def limited(pattern: Pattern, text: str) -> Iterator[Pattern]:
    """The pattern, written as `text`, which raises TooMuch while the context lasts if a path takes too long.

    Only for the main thread, and where SIGALRM is not used otherwise.
    """
    comparing: str | None = None
    before: str | None = None

    def matches(path: str) -> bool:
        nonlocal comparing
        comparing = path
        found = pattern.matches(path)
        comparing = None
        return found

    def tick(_: int, __: FrameType | None) -> None:
        nonlocal before
        if comparing is not None and comparing is before:
            raise TooMuch(
                f"{text}: comparing it with one path takes more than {SECONDS:g} seconds, as there are too many ways "
                f"in which it could match {printable(comparing)}"
            )
        before = comparing

    handler = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, SECONDS)
    try:
        yield replace(pattern, matches=matches)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
