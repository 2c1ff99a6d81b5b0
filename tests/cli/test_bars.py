"""Progress bars."""

import pty
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from imgfs.cli.bars import Bars


@contextmanager
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[bytearray]:
    """Standard error is a terminal; yields what is drawn there, once this ends."""
    written = bytearray()
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "80")
        yield written
    with open(master, "rb", buffering=0) as file, suppress(OSError):  # EIO at the end
        while chunk := file.read(4096):
            written += chunk


def test_a_bar_is_drawn_on_a_terminal_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars()("layer 1", 100) as advance:
        advance(50)
    assert capsys.readouterr().err == ""


def test_bars_show_what_is_done_and_one_may_begin_while_another_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bars = Bars()
    with drawn(monkeypatch) as written:
        with bars("layer 1 of [2]", 100 << 20) as advance:
            advance(50 << 20)
            with bars("another", None) as advance_other:
                advance_other(5)
            advance(25 << 20)
        with bars("the last", None) as advance:
            advance(1 << 10)
    assert b"layer 1 of [2]" in written
    assert b"75M/100M" in written
    assert b"another" in written
    assert b"the last" in written
