"""Tar-splits parsed."""

import gzip
import random
from collections.abc import Callable

import pytest
import zstandard

from imgfs.blob import MemoryBlob
from imgfs.errors import Corrupt
from imgfs.tar.split.recipe import parse_recipe
from tests.splitting import file_line, literal, tar_split


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, bytes])
def test_it_is_read_however_it_is_compressed(compress: Callable[[bytes], bytes]) -> None:
    lines = gzip.decompress(tar_split([literal(b"x" * 512)]))
    assert parse_recipe(MemoryBlob(compress(lines)), "layer").size == 512


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\n",
        b'{"type":3}\n',
        b'{"type":1,"name":"a","size":-1,"payload":"AAAAAAAAAAA="}\n',
        b'{"type":1,"name":"a","size":1}\n',
        b'{"type":1,"name":"a","size":1,"payload":"AAAA"}\n',
        b'{"type":1,"name":"a","size":99999999999999999999999,"payload":"AAAAAAAAAAA="}\n',
        b'{"type":1,"name":"\\ud800","size":1,"payload":"AAAAAAAAAAA="}\n',
        b'{"type":2,"payload":"not base64!"}\n',
        b'{"type":1,"name":"a","size":1152921504606846976,"payload":"AAAAAAAAAAA="}\n' * 100,
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_tar_split_is_corrupt_by_name(text: bytes) -> None:
    with pytest.raises(Corrupt, match="the layer: not a tar-split"):
        parse_recipe(MemoryBlob(gzip.compress(text)), "the layer")


@pytest.mark.parametrize("damage", ["cut off", "flipped"])
def test_a_damaged_file_is_corrupt(damage: str) -> None:
    stored = bytearray(tar_split([literal(random.Random(1).randbytes(5_000)) for _ in range(50)]))
    if damage == "flipped":
        stored[len(stored) // 2] ^= 1
    else:
        del stored[-5:]
    with pytest.raises(Corrupt):
        parse_recipe(MemoryBlob(bytes(stored)), "layer")


@pytest.mark.parametrize("line", [literal(b""), file_line("a", b""), file_line("a", b"a")])
def test_more_lines_than_members_that_can_be_merged_are_refused(
    line: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgfs.tar.split.recipe._MAX_LINES", 1000)
    parse_recipe(MemoryBlob(tar_split([line] * 1000)), "layer")
    with pytest.raises(Corrupt, match="more than 1000 lines"):
        parse_recipe(MemoryBlob(tar_split([line] * 1001)), "layer")


def test_a_line_that_does_not_end_takes_bounded_memory() -> None:
    bomb = gzip.compress(b'{"type":2,"payload":"' + b"A" * (70 << 20))
    with pytest.raises(Corrupt, match="do not end"):
        parse_recipe(MemoryBlob(bomb), "layer")
