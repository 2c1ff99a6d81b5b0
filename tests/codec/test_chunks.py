"""Cutting streams of chunks differently."""

from imgfs.codec.chunks import gather, skip


def test_small_chunks_are_joined_until_they_are_worth_it() -> None:
    assert list(gather(iter([b"ab", b"c", b"defgh", b"i"]), 3)) == [b"abc", b"defgh", b"i"]


def test_nothing_gathers_to_nothing() -> None:
    assert list(gather(iter([b"", b""]), 3)) == []


def test_the_beginning_is_left_out_wherever_chunks_end() -> None:
    for size in range(8):
        assert b"".join(skip(iter([b"ab", b"cde", b"f"]), size)) == b"abcdef"[size:]
