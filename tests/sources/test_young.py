"""What is made of modification times."""

import time

from imgfs.sources.young import now_while_young


def test_the_time_now_is_told_while_any_time_is_young() -> None:
    now = time.time_ns()
    year = 365 * 86_400 * 10**9
    assert now_while_young([now - year, now + year]) == 0
    assert now_while_young([]) == 0
    assert now_while_young([now - year, now, now + year], year // 2) >= now
