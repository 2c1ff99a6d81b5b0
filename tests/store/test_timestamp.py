from datetime import UTC, datetime

import pytest

from imgfs.store.timestamp import format_time, parse_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-02T03:04:05Z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02T03:04:05.678Z", datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)),
        ("2024-01-02T03:04:05.123456789Z", datetime(2024, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2024-01-02T03:04:05.999999999Z", datetime(2024, 1, 2, 3, 4, 5, 999999, tzinfo=UTC)),
        ("2024-01-02T03:04:05+05:30", datetime(2024, 1, 1, 21, 34, 5, tzinfo=UTC)),
        ("2024-01-02T03:04:05-00:00", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02T23:59:59.5-12:00", datetime(2024, 1, 3, 11, 59, 59, 500000, tzinfo=UTC)),
        ("2024-01-02t03:04:05z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02T03:04:05", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_rfc_3339_is_read_in_any_zone_and_cut_to_microseconds(text: str, expected: datetime) -> None:
    assert parse_time(text) == expected
    assert parse_time(text).tzinfo is UTC  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "junk",
    [
        "",
        "junk",
        "2024-13-02T03:04:05Z",
        "2024-01-02T25:04:05Z",
        "\0",
        None,
        5,
        1.5,
        [],
        {},
        "2024",
        "é" * 20,
    ],
)
def test_what_is_no_time_is_none(junk: object) -> None:
    assert parse_time(junk) is None


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"]
)
def test_gos_zero_time_and_times_outside_the_calendar_are_none(text: str) -> None:
    assert parse_time(text) is None


def test_a_formatted_time_reads_back_the_same() -> None:
    for moment in (datetime(2024, 1, 2, 3, 4, 5, 678901, UTC), datetime(2024, 1, 2, tzinfo=UTC)):
        assert parse_time(format_time(moment)) == moment
        assert format_time(moment).endswith("Z")
