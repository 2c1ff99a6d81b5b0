"""Sizes as people read and write them: in powers of 1024 and with one letter, as `ls -lh` has them."""

import re

_LETTERS = "KMGTPE"
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,18})?) ?(?:([KMGT])(?:i?B)?|B)?", re.IGNORECASE | re.ASCII)


def human_size(size: int | None) -> str:
    """A size in bytes, rounded up as by ls and du; `-` if it is unknown."""
    if size is None:
        return "-"
    if size < 1024:
        return str(size)
    for power, letter in enumerate(_LETTERS, 1):
        tenths = -(-size * 10 >> 10 * power)
        if tenths < 100:
            return f"{tenths // 10}.{tenths % 10}{letter}"
        if (whole := -(-size >> 10 * power)) < 1024:
            break
    return f"{whole}{letter}"


def parse_size(text: str) -> int:
    """The bytes in a text such as `20M`, `1.5GiB` or `4096`. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 500M or 8G")
    power = _LETTERS.index(match[2].upper()) + 1 if match[2] else 0
    whole, _, part = match[1].partition(".")
    tens: int = 10 ** len(part)
    return (int(whole + part) << 10 * power) // tens
