"""The pass that makes an index, and the iterator that runs a few items ahead of it in a thread."""

import hashlib
import random
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression
from imgfs.codec.span_map import pack_map
from imgfs.digest import DiffID, Digest
from imgfs.errors import Corrupt
from imgfs.layers.index_file import LayerIndex
from imgfs.layers.index_pass import IndexPass, Prefetcher
from imgfs.layers.member_list import unpack_members
from imgfs.tar import scan_blob
from tests.codec.encoders import gzip_member
from tests.conftest import eventually
from tests.images import layer_tar
from tests.layers.stored_layers import big_tar
from tests.tar.archives import extended, header

DATA = layer_tar({f"some/name-{number}": b"x" * number for number in range(300)})
STORED = gzip_member(DATA)


def test_a_pass_over_too_many_members_still_indexes_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.layers.member_list.MOST_OF_SMALL", 100_000)
    found = IndexPass(MemoryBlob(STORED), Compression.GZIP, "layer").run(lambda chunk: None)
    assert "too many" in found.header.damage
    assert found.header.diff_id == DiffID.of(DATA)
    assert 0 < len(list(unpack_members(found.sections["members"]))) < 300


def test_a_small_blob_that_decodes_to_very_much_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.budget.MOST_OF_SMALL", 1 << 20)
    stored = gzip_member(header(size=2 << 20) + bytes((2 << 20) + 1024))
    for data in (stored, bytes(16 << 20)):
        form = Compression.GZIP if data is stored else Compression.PLAIN
        index_pass = IndexPass(MemoryBlob(data), form, "layer x")
        if form is Compression.PLAIN:  # large as it is stored
            index_pass.run(lambda chunk: None)
        else:
            with pytest.raises(Corrupt, match=r"^layer x: \d+ bytes that decode to more than 1 MiB$"):
                index_pass.run(lambda chunk: None)


def test_plain_and_compressed_layers_are_indexed_alike() -> None:
    data = big_tar(600_000)
    plain, packed = (
        IndexPass(MemoryBlob(stored), kind, "layer").run(lambda chunk: None)
        for stored, kind in ((data, Compression.PLAIN), (gzip_member(data), Compression.GZIP))
    )
    assert plain.header.stored_digest == plain.header.diff_id == packed.header.diff_id == Digest.of(data)
    assert (plain.header.size, plain.header.ending) == (packed.header.size, packed.header.ending)
    assert plain.sections["stored"] == plain.sections["plain"] == packed.sections["plain"]
    assert plain.sections["members"] == packed.sections["members"]
    assert plain.sections["spans"] == pack_map(None, None)
    assert plain.sections["files"] == packed.sections["files"] == b""


@pytest.mark.parametrize("compression", [Compression.PLAIN, Compression.GZIP])
def test_with_spans_the_digests_of_spans_and_of_regular_files_are_found(compression: Compression) -> None:
    """Of files of any size, cut by chunks anywhere, empty ones and those between them that are none."""
    dice = random.Random(1)
    files: dict[str, bytes | None] = {"d": None, "empty": b""}
    files |= {
        f"d/{number}": dice.randbytes(dice.randrange(1 << dice.randrange(1, 21))) for number in range(40)
    }
    data = layer_tar(files)
    stored = data if compression is Compression.PLAIN else gzip_member(data, 1)
    found = IndexPass(MemoryBlob(stored), compression, "layer", with_spans=True).run(lambda chunk: None)
    expected = b"".join(hashlib.sha256(content).digest() for content in files.values() if content is not None)
    assert found.sections["files"] == expected
    index = LayerIndex(
        found.header, found.sections["spans"], MemoryBlob(found.sections["windows"]), str.encode
    )
    assert index.spans is not None
    assert len(index.spans) > 1
    for number in range(len(index.spans)):
        start = index.spans.start(number)
        assert index.spans.digest(number).is_of(data[start : start + index.spans.length(number)])


def test_numbers_of_any_size_can_be_remembered() -> None:
    absurd = header(mtime=b"\x80\0\0\0\x7f" + b"\xff" * 7, uid=b"\xbf" + b"\xff" * 7)
    records = extended(b"x", {b"mtime": b"9" * 18, b"uid": b"9" * 18, b"gid": b"-" + b"9" * 18})
    layer = absurd + records + absurd + bytes(1024)
    found = IndexPass(MemoryBlob(gzip_member(layer)), Compression.GZIP, "layer").run(lambda chunk: None)
    assert not found.header.damage
    without_names = [
        msgspec.structs.replace(found, uname=b"", gname=b"") for found in scan_blob(MemoryBlob(layer))
    ]
    assert list(unpack_members(found.sections["members"])) == without_names


def counted(limit: int, made: list[int]) -> Iterator[int]:
    try:
        for number in range(limit):
            made.append(number)
            yield number
    finally:
        made.append(-1)


def test_items_come_in_order() -> None:
    with Prefetcher(iter(range(1000)), depth=4) as ahead:
        assert list(ahead) == list(range(1000))


def test_no_more_than_the_depth_is_made_before_it_is_taken() -> None:
    made: list[int] = []
    with Prefetcher(counted(1000, made), depth=3) as ahead:
        assert next(iter(ahead)) == 0
        assert eventually(lambda: len(made) >= 2)
        time.sleep(0.05)  # it could go on
        assert len(made) <= 6


def test_what_was_raised_comes_after_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise OSError(5, "the disk is on fire")

    with Prefetcher(failing(), depth=4) as ahead:
        items = iter(ahead)
        assert next(items) == 1
        with pytest.raises(OSError, match="fire"):
            next(items)


def test_leaving_early_stops_the_thread() -> None:
    before = threading.active_count()
    made: list[int] = []
    with Prefetcher(counted(1_000_000, made), depth=4) as ahead:
        next(iter(ahead))
    assert threading.active_count() == before
    assert len(made) < 100
