"""Modification times too young to tell whether something changes once more."""

import time
from collections.abc import Iterable

CLOCK_GRAIN_NS = 50_000_000
"""A change this soon after another may leave the same modification time."""


def now_while_young(times: Iterable[int], age_ns: int = CLOCK_GRAIN_NS) -> int:
    """The time now while one of some modification times is younger than `age_ns`, else 0; all in nanoseconds.

    With it a stamp of them differs at every call for so long. Times that lie in the future are not waited for.
    """
    now = time.time_ns()
    return now if any(abs(now - modified) < age_ns for modified in times) else 0
