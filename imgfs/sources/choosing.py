"""Choosing one image of a layout or an archive by what stands behind its path: a name, a digest, or `@N`.

Format: containers/image, containers-transports(5), `docker-archive:PATH[:{NAME|@N}]`, `oci:PATH[:{NAME|@N}]`, where N
counts from 0. A name may be written as docker takes it, in full or as it shows it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from imgfs.errors import InvalidImage
from imgfs.sources.names import spellings

T = TypeVar("T")

_NUMBER = re.compile(r"@([0-9]{1,9})")
_DIGEST = re.compile(r"(?:.*@)?(sha(?:256|384|512):[0-9a-f]+)")


def chosen(
    items: Sequence[tuple[int, T]], wanted: str, names: Callable[[T], Iterable[str]], path: str
) -> list[tuple[int, T]]:
    """The items that `wanted` means; each has a number, and `names`, of which a digest is one as `@sha256:<hex>`.

    Raises InvalidImage, naming `path` and `wanted`, if there are none.
    """
    number, digest = _NUMBER.fullmatch(wanted), _DIGEST.fullmatch(wanted)
    found: list[tuple[int, T]] = []
    if number:
        found = [item for item in items if item[0] == int(number[1])]
    elif digest:
        found = [item for item in items if f"@{digest[1]}" in names(item[1])]
    else:
        for spelling in spellings(wanted):
            found = [item for item in items if spelling in names(item[1])]
            if found:
                break
    if not found:
        raise InvalidImage(f"{path}: no image is tagged {wanted!r}")
    return found
