import pytest

from imgfs.errors import Corrupt, describe, printable, quoted


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Corrupt("layer x: damaged"), "layer x: damaged"),
        (FileNotFoundError(2, "No such file or directory", "/a"), "/a: No such file or directory"),
        (PermissionError(13, "Permission denied", b"/a\xff"), "/a\udcff: Permission denied"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (FileNotFoundError("archive.tar: no member 'x'"), "archive.tar: no member 'x'"),
    ],
)
def test_an_error_is_described_by_what_it_concerns(error: Exception, text: str) -> None:
    assert describe(error) == text


def test_what_is_printed_cannot_steer_a_terminal() -> None:
    assert printable("plain é 漢字 text") == "plain é 漢字 text"
    assert printable("a\nb\tc\x1b[2J\x07\u202e\udcff") == "a\\nb\\tc\\x1b[2J\\x07\\u202e\\udcff"


def test_bytes_of_an_image_are_shown_as_text() -> None:
    assert quoted(b"LZIPLZIP") == "'LZIPLZIP'"
    assert quoted("é\n".encode() + b"\xff\0") == "'é\\n\\xff\\x00'"
