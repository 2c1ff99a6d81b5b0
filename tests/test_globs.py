"""Patterns for paths against what bash matches with globstar."""

import subprocess
from pathlib import Path

import pytest

from imgfs.globs import glob_matcher

PATHS = ["a", "b.c", "d/a", "d/b.c", "d/e/a", "d/e/f/b.c", "x[1]", "x1", "-", "d/]", "ä"]
PATTERNS = [
    *("*", "?", "*.c", "d/*", "d/**", "**/a", "**/*.c", "d/**/b.c", "**", "d/*/a", "***", "d/?/**/a"),
    *(
        "x[1]",
        "x[[]1]",
        "x[!a]",
        "x[^a]",
        "[a-c]*",
        "[!a-c]*",
        "[z-a]",
        "d/[]]",
        "[-a]",
        "x[",
        "[[:x",
        "ä",
        "?[1-9]",
    ),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_what_bash_expands_it_to(tmp_path: Path, pattern: str) -> None:
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    script = f"shopt -s globstar nullglob dotglob; LC_ALL=C.UTF-8; for f in {pattern}; do printf '%s\\n' \"$f\"; done"
    done = subprocess.run(
        ["bash", "-O", "extglob", "-c", script], cwd=tmp_path, capture_output=True, check=True
    )
    everything = [*PATHS, "d", "d/e", "d/e/f"]
    expanded = {line.rstrip("/") for line in done.stdout.decode().splitlines()} & set(everything)
    matches = glob_matcher(pattern)
    found = {path for path in everything if matches(path)}
    if pattern == "d/**":
        expanded -= {"d"}  # bash counts the directory itself as what is in it
    assert found == expanded


def test_stars_take_no_longer_than_their_path() -> None:
    matches = glob_matcher("*" * 1000 + "b")
    assert not matches("a" * 1000)


def test_stars_one_after_the_other_take_no_longer_than_one() -> None:
    path = "a/" * 200 + "b"
    assert glob_matcher("**/" * 20 + "b")(path)
    assert not glob_matcher("**/" * 20 + "c")(path)
