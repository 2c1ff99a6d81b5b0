"""What is made of modification times."""

import time

from imgfs.blob.stamp import recently_modified


def test_the_time_now_is_told_while_any_time_is_young() -> None:
    now = time.time_ns()
    year = 365 * 86_400 * 10**9
    assert recently_modified([now - year, now + year]) == 0
    assert recently_modified([]) == 0
    assert recently_modified([now - year, now, now + year], year // 2) >= now
