"""Splitting `PATH[:TAG]`."""

import os

from imgfs.errors import StoreError


def split_tag(text: str) -> tuple[str, str | None]:
    """The path and the tag of `PATH[:TAG]`; what exists as a whole is a path, else the first colon divides.

    Raises StoreError for an empty path.
    """
    path, colon, tag = text.partition(":")
    if not path:
        raise StoreError("a path is missing after the colon")
    if os.path.lexists(text) or not colon:
        return text, None
    return path, tag or None
