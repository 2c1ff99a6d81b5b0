"""Times as image configs and moby's metadata hold them.

Format: RFC 3339 with up to nine digits of a second, as Go writes it. Configs hold whatever their makers put
there, so what is no time is read as none.
"""

from datetime import UTC, datetime


def parse_time(text: object) -> datetime | None:
    """The time that `text` gives, in UTC, cut to microseconds; None if it gives none.

    Without a zone it is taken to be UTC. Go's zero time, 1 January of the year 1, stands for no time.
    """
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year > 1 else None


def format_time(moment: datetime) -> str:
    """The time as Go's `time.RFC3339Nano` would read it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
