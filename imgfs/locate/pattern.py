"""Patterns of paths, as locate(1) takes them: where in the names of layers to look, and what then matches.

A text without wildcards is looked for in whole paths. One with wildcards is matched against names, or if it has a slash
against whole paths, as by `imgfs find`; what is in a name is thus the same for both commands.
"""

import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from imgfs.globs import glob_matcher

_WILDCARDS = re.compile(r"[*?\[]")
_NO_LITERAL = re.compile(r"\[[^]]*\]|[*?]")  # what stands between the literal parts of a pattern of the shell
_ODD = "[^\x01-.0-\x7f]|[iksIKS]"
"""Besides slashes, what in a regular expression that ignores case may match other than its small and its capital letter
do: beyond ASCII, all, and in it those that are the same as a letter beyond."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is looked for in paths, which are written with a slash before them.

    `literal` is in the name of whatever matches, and begins with NUL if it begins that name; if it `reaches_below`,
    it may be in the name of a directory above instead. With `ignore_case` it is in small letters and the names are
    compared so. Empty if nothing is known. `matches` says whether a path, or if `of_name` a name, matches.
    """

    matches: Callable[[str], bool]
    of_name: bool
    literal: bytes
    reaches_below: bool
    ignore_case: bool = False


def parse_pattern(
    text: str, *, basename: bool = False, ignore_case: bool = False, regex: bool = False
) -> Pattern:
    """What a text means. Raises ValueError for a regular expression that is none."""
    if regex:
        return _regex(text, basename=basename, ignore_case=ignore_case)
    if not _WILDCARDS.search(text):
        return _plain(text, basename=basename, ignore_case=ignore_case)
    whole = "/" in text and not basename
    glob = f"/{text.lstrip('/')}" if whole else text
    matches = glob_matcher(glob.lower() if ignore_case else glob)
    parts = text.split("/")
    is_below = whole and parts[-1] == "**"
    literal = max(map(_literal, parts if is_below else parts[-1:]), key=len)
    matches = _folded(matches) if ignore_case else matches
    return _pattern(matches, not whole, literal, ignore_case=ignore_case, reaches_below=is_below)


def _literal(part: str) -> str:
    """What is in each name that matches a part of a pattern of the shell."""
    literal = max(_NO_LITERAL.split(part), key=len)
    return "" if "[" in literal else literal  # an unclosed bracket stands for itself


def _plain(text: str, *, basename: bool, ignore_case: bool) -> Pattern:
    wanted = text.lower() if ignore_case else text

    def is_in(path: str) -> bool:
        return wanted in path

    matches = _folded(is_in) if ignore_case else is_in
    parts = text.split("/")
    if basename or len(parts) == 1:
        return _pattern(matches, basename, text, ignore_case=ignore_case, reaches_below=not basename)
    literal = max(parts, key=len)
    begins = literal != parts[0] and bool(literal)
    return _pattern(matches, False, literal, ignore_case=ignore_case, reaches_below=True, begins=begins)


def _regex(text: str, *, basename: bool, ignore_case: bool) -> Pattern:
    try:
        with warnings.catch_warnings():
            # of what may mean something else in Python one day
            warnings.simplefilter("ignore", FutureWarning)
            found = re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    except re.error as error:
        raise ValueError(f"{text}: not a regular expression: {error}") from None
    except (RecursionError, OverflowError):
        raise ValueError(f"{text}: not a regular expression: too large") from None
    literal = max(re.split(_ODD if ignore_case else "[\0/]", _certain(text)), key=len)
    return _pattern(
        lambda path: found.search(path) is not None,
        basename,
        literal,
        ignore_case=ignore_case,
        reaches_below=not basename,
    )


def _certain(text: str) -> str:
    """The parts of a regular expression that stand for themselves, with NUL between them; not all of them are found."""
    if re.search(r"\(\?|\\[xuUN0-9]", text):
        return ""
    text = re.sub(r"\[(\\[^0-9A-Za-z]|[^]^\\0-9A-Za-z\[])\]", lambda match: "\\" + match[1][-1], text)
    text = re.sub(r"(?<!\\)\[\^?\]?(?:[^]\\]|\\.)*\]", "\0", text, flags=re.DOTALL)
    before = ""
    while text != before:  # groups that have none in them
        before, text = text, re.sub(r"(?<!\\)\((?:[^()\\]|\\.)*\)", "\0", text, flags=re.DOTALL)
    if re.search(r"(?<!\\)[|()\[]|\\\\", text):
        return ""
    text = re.sub(r"(?:\\.|[^\\])(?:[*?+]|\{[0-9,]*\})+", "\0", text, flags=re.DOTALL)
    return re.sub(
        r"\\(.)|[.^$]", lambda match: match[1] if match[1] and not match[1].isalpha() else "\0", text
    )


def _folded(matches: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda path: matches(path.lower())


def _pattern(
    matches: Callable[[str], bool],
    of_name: bool,
    literal: str,
    *,
    ignore_case: bool,
    reaches_below: bool = False,
    begins: bool = False,
) -> Pattern:
    data = os.fsencode(literal.lower() if ignore_case else literal)
    return Pattern(matches, of_name, b"\0" + data if begins else data, reaches_below, ignore_case)
