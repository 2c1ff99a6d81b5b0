"""Times of images as docker prints them.

Format: docker/go-units, duration.go; Go, time.Time.String, without the fraction.
"""

from datetime import UTC, datetime

_DAY = 24


def age(moment: datetime | None, now: datetime) -> str:
    """How long ago a moment was, such as `2 weeks ago`; `N/A` if it is not known."""
    return "N/A" if moment is None else f"{span(moment, now)} ago"


def span(moment: datetime, now: datetime) -> str:
    """How long it is from a moment to another, such as `2 weeks`."""
    seconds = int((now - moment).total_seconds())
    minutes = seconds // 60
    hours = round((now - moment).total_seconds() / 3600)
    if seconds < 1:
        text = "Less than a second"
    elif seconds < 60:
        text = _counted(seconds, "second")
    elif minutes < 60:
        text = "About a minute" if minutes == 1 else _counted(minutes, "minute")
    elif hours < 2 * _DAY:
        text = "About an hour" if hours == 1 else _counted(hours, "hour")
    elif hours < 14 * _DAY:
        text = _counted(hours // _DAY, "day")
    elif hours < 60 * _DAY:
        text = _counted(hours // _DAY // 7, "week")
    elif hours < 730 * _DAY:
        text = _counted(hours // _DAY // 30, "month")
    else:
        text = _counted(hours // _DAY // 365, "year")
    return text


def with_zone(moment: datetime | None) -> str:
    """A moment as `2024-01-02 03:04:05 +0000 UTC`; `N/A` if it is not known."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S +0000 UTC}" if moment else "N/A"


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}{'s' * (count != 1)}"
