"""Tables: lines of cells in columns, which fit the terminal where one of them may be cut."""

import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence

import click

no_trunc_option = click.option("--no-trunc", is_flag=True, help="Cut nothing where a terminal is too narrow.")

_WIDEST = 100  # characters of a column; a longer cell moves only the rest of its own line
_NARROWEST = 12  # characters that are left of a column that is cut
_GAP = "  "


def print_table(
    lines: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    cut: str | Sequence[str] | None = None,
    drop: Sequence[str] = (),
) -> None:
    """Print lines of cells, the first of which are the headings; cells may be colored.

    The columns called so in `right` are aligned to the right. Where the terminal is too narrow, the cells of the
    columns called so in `cut`, which have no colors, are shortened, one column after the other, and where that is not
    enough, the columns in `drop` are left out, one after the other. What goes to a pipe or a file is whole.
    """
    if sys.stdout.isatty() and cut:
        cut = [cut] if isinstance(cut, str) else cut
        lines = _fitting(lines, cut, drop, shutil.get_terminal_size().columns)
    headings, widths = lines[0], _widths(lines)
    rows = []
    for line in lines:
        cells = []
        for heading, cell, width in zip(headings, line, widths, strict=True):
            padding = " " * (width - _width(cell))
            cells.append(padding + cell if heading in right else cell + padding)
        rows.append(_GAP.join(cells).rstrip())
    click.echo("\n".join(rows))  # in one go: there may be thousands


def _fitting(
    lines: Sequence[Sequence[str]], cut: Sequence[str], drop: Sequence[str], room: int
) -> Sequence[Sequence[str]]:
    """The lines with cells shortened and left out, so that they take `room` columns of a terminal, if they can."""
    widths = dict(zip(lines[0], _widths(lines), strict=True))
    too_many = sum(widths.values()) + len(_GAP) * (len(widths) - 1) - room
    for heading in cut:
        if heading in widths and too_many > 0:
            less = max(min(too_many, widths[heading] - _NARROWEST), 0)
            widths[heading] -= less
            too_many -= less
    if too_many > 0 and drop:
        kept = [number for number, heading in enumerate(lines[0]) if heading != drop[0]]
        return _fitting([[line[number] for number in kept] for line in lines], cut, drop[1:], room)
    return [
        [
            _shortened(cell, widths[heading]) if heading in cut else cell
            for heading, cell in zip(lines[0], line, strict=True)
        ]
        for line in lines
    ]


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [min(max(map(_width, column)), _WIDEST) for column in zip(*lines, strict=True)]


def fitting(line: str, *, before: int = 0) -> str:
    """A line without colors, cut at the end of the terminal if it is too long with as many columns `before` it."""
    return _shortened(line, shutil.get_terminal_size().columns - before) if sys.stdout.isatty() else line


def wrapped(text: str, *, before: int) -> list[str]:
    """A text in lines that fit the terminal with as many columns `before` them, broken between words alone."""
    room = max(shutil.get_terminal_size().columns - before, _NARROWEST)
    width = room if sys.stdout.isatty() else len(text) + 1
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def short_digests(line: str) -> str:
    """A line with digests shortened as in tables, if it goes to a terminal."""
    return re.sub(r"sha\d+:([0-9a-f]{12})[0-9a-f]+", r"\1", line) if sys.stdout.isatty() else line


def _width(cell: str) -> int:
    """How many columns of a terminal a cell takes."""
    text = click.unstyle(cell) if "\x1b" in cell else cell
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # here, as it is seldom needed

    return cell_len(text)


def _shortened(cell: str, width: int) -> str:
    if _width(cell) <= width:
        return cell
    from rich.cells import set_cell_size

    return f"{set_cell_size(cell, width - 1).rstrip()}…"
