"""What commands print for people."""

import os
import pty
import sys
from contextlib import suppress

import pytest

from imgfs.cli.messages import progress_bar, tell, utf8


def test_a_name_that_is_not_utf_8_can_be_part_of_json() -> None:
    name = os.fsdecode(b"caf\xe9 \xf0\x9f\x90\x8b")
    assert utf8(name).encode() == b"caf\\xe9 \xf0\x9f\x90\x8b"


def test_a_message_is_one_line_that_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tell("a\nb\x1b[31m")
    assert capsys.readouterr().err == "imgfs: a\\nb\\x1b[31m\n"


def test_a_bar_is_drawn_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("layer 1", 100) as advance:
        advance(50)
    assert capsys.readouterr().err == ""
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        with progress_bar("layer 1 of [2]", 100 << 20) as advance:
            advance(50 << 20)
            advance(25 << 20)
            sys.stderr.flush()
    drawn = b""
    with open(master, "rb", buffering=0) as file, suppress(OSError):  # EIO at the end
        while chunk := file.read(4096):
            drawn += chunk
    assert b"layer 1 of [2]" in drawn
    assert b"75M/100M" in drawn
