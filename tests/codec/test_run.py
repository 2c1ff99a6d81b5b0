"""A decoder that moves forward and remembers what it decoded last."""

from collections.abc import Iterator

import pytest

from imgfs.codec.run import Run
from imgfs.errors import Corrupt
from tests.codec.encoders import texture

DATA = texture("noise", 3_000_000, 1)


def chunks(failure: Exception | None = None) -> Iterator[bytes]:
    for start in range(0, len(DATA), 200_000):
        yield DATA[start : start + 200_000]
    if failure:
        raise failure


def test_reads_may_go_back_as_far_as_was_promised() -> None:
    run = Run(chunks(), 0, 500_000)
    assert run.read(100, 2_000_000) == DATA[2_000_000:2_000_100]
    assert run.position - run.kept_from < 1_000_000
    back = run.position - 500_000
    assert run.read(1000, back) == DATA[back : back + 1000]


def test_reads_further_back_are_refused() -> None:
    run = Run(chunks(), 0, 500_000)
    run.read(1, 2_000_000)
    with pytest.raises(ValueError, match="gone"):
        run.read(10, run.kept_from - 1)


def test_a_read_longer_than_what_is_kept_is_whole() -> None:
    run = Run(chunks(), 7, 100_000)
    assert run.read(2_500_000, 100_007) == DATA[100_000:2_600_000]


def test_reads_end_where_the_data_does() -> None:
    run = Run(chunks(), 0, 100_000)
    assert run.read(1000, len(DATA) - 10) == DATA[-10:]
    assert run.read(1000, len(DATA)) == b""


def test_corrupt_is_raised_again_and_never_looks_like_an_end() -> None:
    run = Run(chunks(Corrupt("at the end")), 0, 100_000)
    for _ in range(2):
        with pytest.raises(Corrupt, match="at the end"):
            run.read(1, len(DATA))
    assert not run.failed


def test_a_failure_to_read_makes_the_run_useless() -> None:
    run = Run(chunks(OSError("disk")), 0, 100_000)
    with pytest.raises(OSError, match="disk"):
        run.read(1, len(DATA))
    assert run.failed
