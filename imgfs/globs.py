"""Patterns for paths, as the shell has them with globstar."""

import re
from collections.abc import Callable
from itertools import pairwise


def glob_matcher(pattern: str) -> Callable[[str], bool]:
    """A function that says whether a path matches `pattern`.

    `*`, `?` and `[…]` match within a name, and `**` as a part of its own any number of directories, or as the last part
    all that is in them. Names that begin with a dot are no exception.
    """
    *parts, last = pattern.split("/")
    # of several `**` one is kept: two would match in very many ways
    parts = [part for part, after in pairwise([*parts, last]) if part != "**" or after != "**"]
    text = "".join("(?:[^/]+/)*" if part == "**" else f"{_part(part)}/" for part in parts)
    matches = re.compile(text + (".+" if last == "**" else _part(last)), re.DOTALL).fullmatch
    return lambda path: matches(path) is not None


def _part(part: str) -> str:
    """A regular expression for one part of a pattern."""
    pieces: list[str] = []
    at = 0
    while at < len(part):
        char, at = part[at], at + 1
        if char == "*":
            if not pieces or pieces[-1] != "[^/]*":  # two would match in very many ways
                pieces.append("[^/]*")
        elif char == "?":
            pieces.append("[^/]")
        elif char == "[" and (end := part.find("]", at + 1 + (part[at : at + 1] in ("!", "^")))) > 0:
            pieces.append(_class(part[at:end]))
            at = end + 1
        else:
            pieces.append(re.escape(char))
    return "".join(pieces)


def _class(inside: str) -> str:
    """What stands in brackets, as a class of characters; a range the wrong way around matches nothing."""
    negated = inside[0] in "!^"
    characters = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside[negated:])
    try:
        re.compile(f"[{characters}]")
    except re.error:
        return "(?!)"
    return f"(?!/)[{'^' if negated else ''}{characters}]"
