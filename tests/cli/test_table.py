"""Tables: aligned whatever is in them, and cut only where a terminal is too narrow."""

import io
import sys

import click
import pytest

from imgfs.cli.table import print_table

LINES = [
    ["NAME", "SIZE", "STEP"],
    ["a", "1.5K", "RUN make and so on, at length"],
    ["日本", "20", click.style("RUN", fg="red")],
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(monkeypatch: pytest.MonkeyPatch, terminal: io.StringIO) -> list[str]:
    monkeypatch.setattr(sys, "stdout", terminal)
    print_table(LINES, right=["SIZE"], cut="STEP")
    return terminal.getvalue().splitlines()


def test_columns_are_aligned_by_what_a_terminal_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, io.StringIO()) == [
        "NAME  SIZE  STEP",
        "a     1.5K  RUN make and so on, at length",
        "日本    20  RUN",
    ]


def test_a_column_is_cut_where_the_terminal_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "28")
    lines = printed(monkeypatch, Terminal())
    assert lines[1] == "a     1.5K  RUN make and so…"
    monkeypatch.setenv("COLUMNS", "80")
    assert printed(monkeypatch, Terminal())[1].endswith("at length")


def test_a_column_is_never_cut_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    assert printed(monkeypatch, Terminal())[1] == "a     1.5K  RUN make an…"


def test_columns_that_do_not_fit_are_left_out_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [["ID", "FIRST", "SECOND", "LAST"], ["1", "f" * 20, "s" * 20, "l" * 20]]
    printed = []
    for columns in (67, 60, 52, 51, 25):
        monkeypatch.setenv("COLUMNS", str(columns))
        screen = Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        print_table(lines, cut=["FIRST", "LAST"], drop=["SECOND", "FIRST"])
        printed.append(screen.getvalue().splitlines()[1])
    assert printed == [
        f"1   {'f' * 18}…  {'s' * 20}  {'l' * 20}",
        f"1   {'f' * 11}…  {'s' * 20}  {'l' * 20}",
        f"1   {'f' * 11}…  {'s' * 20}  {'l' * 11}…",
        f"1   {'f' * 20}  {'l' * 20}",
        f"1   {'l' * 20}",
    ]
