"""Patterns: what they match, and that nothing is missed by where they make the search look."""

import os
import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.globs import glob_matcher
from imgfs.locate.pattern import parse_pattern
from imgfs.locate.search import Query
from tests.locate.indexed import Indexed
from tests.tree.stacks import Entry, layer_tree, tar

PATHS = [
    *("a/b/c", "a/bc", "ab/c.d", "ab/a/.b", "A/bB", "é/ab", "b/b/b/b", "x.a/[b]", "d.c"),
    *("É/aÉB", "B/\u212a", "s/\u017f", "Ik/a\u0130", "K\udcff", "Aa/Ab/aB"),
]
INDEXED = Indexed([layer_tree(tar([Entry(path, b"0") for path in PATHS]))], [[0]])
ALL = ["/" + path for path in INDEXED.paths(Query(kind=lambda kind: True))]


def found(text: str, **options: bool) -> list[str]:
    return ["/" + path for path in INDEXED.paths(Query(parse_pattern(text, **options)))]


texts = st.text("aBbc./éÉKsk*?[]", min_size=1, max_size=5)


@given(texts, st.booleans(), st.booleans())
def test_a_text_is_looked_for_and_a_glob_matched(text: str, basename: bool, ignore_case: bool) -> None:
    def matches(path: str) -> bool:
        wanted, of = text, os.path.basename(path) if basename else path
        if ignore_case:
            wanted, of = wanted.lower(), of.lower()
        if not re.search(r"[*?\[]", text):
            return wanted in of
        if "/" in text and not basename:
            return glob_matcher(f"/{wanted.lstrip('/')}")(of)
        return glob_matcher(wanted)(os.path.basename(of))

    assert found(text, basename=basename, ignore_case=ignore_case) == [path for path in ALL if matches(path)]


@settings(max_examples=300)
@given(st.text("abkSdw./\\^$*+?|()[]{}1,-", max_size=8), st.booleans(), st.booleans())
def test_a_regular_expression_is_as_of_python(text: str, basename: bool, ignore_case: bool) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            expression = re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    except re.error:
        with pytest.raises(ValueError, match="regular expression"):
            parse_pattern(text, regex=True)
        return
    wanted = [path for path in ALL if expression.search(os.path.basename(path) if basename else path)]
    assert found(text, regex=True, basename=basename, ignore_case=ignore_case) == wanted


@pytest.mark.parametrize(
    ("text", "literal"),
    [("log4j-core-*.jar", b"log4j-core-"), ("/etc/passwd", b"\0passwd"), ("/usr/**", b"usr"), ("[ab]", b"")],
)
def test_the_longest_certain_part_is_looked_for(text: str, literal: bytes) -> None:
    assert parse_pattern(text).literal == literal


def test_the_certain_part_of_a_regular_expression_is_looked_for() -> None:
    assert parse_pattern(r"log4j-core-.*\.jar$", regex=True).literal == b"log4j-core-"
    for text, literal in (
        (r"(a|b)c", b"c"),
        (r"a|b", b""),
        (r"^/etc/(passwd|group)$", b"\0etc"),
        (r"log4j[.]jar", b"log4j.jar"),
        (r"ab{0,2}\d+x", b"a"),
        (r"\x61bc", b""),
        (r"[[]a", b"a"),
        (r"(?i)abc", b""),
    ):
        assert parse_pattern(text, regex=True).literal.strip(b"\0") == literal.strip(b"\0"), text
