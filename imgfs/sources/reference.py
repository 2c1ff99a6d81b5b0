"""Splitting `PATH[:TAG]`."""

import os

from imgfs.errors import StoreError


def split_tag(text: str) -> tuple[str, str | None]:
    """The path and the tag of `PATH[:TAG]`; what exists as a whole is a path, else the first colon behind what does.

    Raises StoreError for an empty path.
    """
    path, colon, _ = text.partition(":")
    if not path:
        raise StoreError("a path is missing after the colon")
    if os.path.lexists(text) or not colon:
        return text, None
    colons = [place for place, char in enumerate(text) if char == ":"]
    end = next((place for place in colons if os.path.lexists(text[:place])), len(path))
    return text[:end], text[end + 1 :] or None
