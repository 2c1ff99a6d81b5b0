"""What commands print for people."""

import os

import pytest

from imgfs.cli.messages import tell, utf8


def test_a_name_that_is_not_utf_8_can_be_part_of_json() -> None:
    name = os.fsdecode(b"caf\xe9 \xf0\x9f\x90\x8b")
    assert utf8(name).encode() == b"caf\\xe9 \xf0\x9f\x90\x8b"


def test_a_message_is_one_line_that_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tell("a\nb\x1b[31m")
    assert capsys.readouterr().err == "imgfs: a\\nb\\x1b[31m\n"
