"""Times as people give them to options. Tried by the tests of the commands that have such options."""

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|us|µs|ns|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([a-zµ]+)")


def parse_moment(text: str) -> datetime:
    """A time as Docker takes it: a date or time, seconds since 1970, or a duration before now such as `1h30m`.

    Raises ValueError.
    """
    try:
        if _DURATION.fullmatch(text):
            seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
            return datetime.now(UTC) - timedelta(seconds=seconds)
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return datetime.fromtimestamp(float(text), UTC)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{text}: neither a time, such as 2024-01-31T12:00:00Z, nor a duration, such as 24h"
        ) from None
