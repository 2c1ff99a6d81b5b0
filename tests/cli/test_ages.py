"""Ages as docker prints them."""

from datetime import UTC, datetime, timedelta

import pytest

from imgfs.cli.ages import age, with_zone

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second ago"),
        (1, "1 second ago"),
        (59, "59 seconds ago"),
        (60, "About a minute ago"),
        (150, "2 minutes ago"),
        (3600, "About an hour ago"),
        (47 * 3600, "47 hours ago"),
        (48 * 3600, "2 days ago"),
        (13 * 86400, "13 days ago"),
        (14 * 86400, "2 weeks ago"),
        (59 * 86400, "8 weeks ago"),
        (60 * 86400, "2 months ago"),
        (729 * 86400, "24 months ago"),
        (730 * 86400, "2 years ago"),
    ],
)
def test_ages_are_rounded_as_docker_rounds_them(seconds: float, text: str) -> None:
    """Format: docker/go-units, duration_test.go."""
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


def test_moments_have_their_zone() -> None:
    assert with_zone(NOW) == "2026-01-31 12:00:00 +0000 UTC"
    assert (age(None, NOW), with_zone(None)) == ("N/A", "N/A")
