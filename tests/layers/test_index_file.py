"""The file that remembers a layer: right, or not believed."""

import io
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression
from imgfs.codec.seek_table import SeekTableBuilder
from imgfs.codec.span_map import pack_map
from imgfs.digest import DiffID, Digest
from imgfs.errors import Corrupt
from imgfs.layers.index_file import IndexHeader, LayerIndex, LayerKey, read_header, write_index
from imgfs.layers.index_pass import IndexPass
from imgfs.tar import scan_blob
from tests.codec.encoders import gzip_member
from tests.images import layer_tar

DATA = layer_tar({f"some/name-{number}": b"x" * number for number in range(300)})
STORED = gzip_member(DATA)
DATA_FOUND = IndexPass(MemoryBlob(STORED), Compression.GZIP, "layer", with_spans=True).run(lambda chunk: None)


def written() -> bytes:
    file = io.BytesIO()
    write_index(file, DATA_FOUND.header, DATA_FOUND.sections)
    return file.getvalue()


WRITTEN = written()


def everything(data: bytes) -> tuple[object, ...]:
    """All that an index in these bytes holds."""
    index = LayerIndex.load(MemoryBlob(data), lambda: MemoryBlob(data))
    header = msgspec.structs.replace(index.header, sections={})
    windows = index.windows.pread(index.windows.size, 0)
    checksums = index.stored_checksums, index.plain_checksums
    return header, *checksums, index.packed, windows, index.file_digests(), list(index.members())


def test_an_index_says_what_the_pass_found() -> None:
    header, *sections, members = everything(WRITTEN)
    assert header == DATA_FOUND.header
    assert header == IndexHeader(
        Compression.GZIP, Digest.of(STORED), len(STORED), DiffID.of(DATA), len(DATA), 512 * 600 - 512, ""
    )
    names = ("stored", "plain", "spans", "windows", "files")
    assert sections == [DATA_FOUND.sections[name] for name in names]
    assert members == list(scan_blob(MemoryBlob(DATA)))


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_an_index_with_anything_changed_is_corrupt(data: st.DataObject) -> None:
    """A bit, a stretch of bytes, or the rest of it."""
    hurt = bytearray(WRITTEN)
    place = data.draw(st.integers(0, len(hurt) - 1))
    match data.draw(st.sampled_from(["bit", "bytes", "cut", "inserted"])):
        case "bit":
            hurt[place] ^= 1 << data.draw(st.integers(0, 7))
        case "bytes":
            noise = data.draw(st.binary(min_size=1, max_size=200))
            hurt[place : place + len(noise)] = noise
        case "cut":
            del hurt[place:]
        case "inserted":
            hurt[place:place] = data.draw(st.binary(min_size=1, max_size=200))
    if bytes(hurt[: len(WRITTEN)]) == WRITTEN:
        assert everything(bytes(hurt)) == everything(WRITTEN)
    else:
        with pytest.raises(Corrupt, match="layer index"):
            everything(bytes(hurt))


@given(st.binary(max_size=500))
def test_any_bytes_are_no_index(noise: bytes) -> None:
    for start in (b"", WRITTEN[:29], WRITTEN[:33]):
        with pytest.raises(Corrupt, match="layer index"):
            everything(start + noise)


@pytest.mark.parametrize("version", [b"1", b"3", b"9"])
def test_another_version_is_corrupt(version: bytes) -> None:
    assert WRITTEN.startswith(b"imgfs layer index, version 7\n")
    with pytest.raises(Corrupt, match="another version"):
        everything(WRITTEN.replace(b"version 7", b"version " + version, 1))


def test_a_key_matches_the_index_of_its_layer_and_no_other() -> None:
    header = read_header(MemoryBlob(WRITTEN))
    key = LayerKey(Digest.of(STORED), Compression.GZIP, DiffID.of(DATA), len(STORED), None, len(DATA))
    assert key.matches(header)
    assert replace(key, size=None).matches(header)
    others = {
        "compression": Compression.ZSTD,
        "diff_id": DiffID.of(b"other"),
        "stored_size": len(STORED) + 1,
        "size": len(DATA) + 1,
    }
    for name, other in others.items():
        assert not replace(key, **{name: other}).matches(header)


OTHER = SeekTableBuilder()
OTHER.add(len(DATA) + 1, 9, b"")
HUGE_FRAME = b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 15  # says that it holds nearly 2**64 bytes
FORGERIES = {
    "no checksums": (DATA_FOUND.header, {"stored": b""}),
    "too many checksums": (DATA_FOUND.header, {"plain": DATA_FOUND.sections["plain"] + b"more"}),
    "another size": (msgspec.structs.replace(DATA_FOUND.header, size=1 << 50), {}),
    "no points": (DATA_FOUND.header, {"spans": b""}),
    "points of another": (
        DATA_FOUND.header,
        {"spans": pack_map(OTHER.build(len(STORED), len(DATA) + 2), None)},
    ),
    "nonsense digest": (msgspec.structs.replace(DATA_FOUND.header, diff_id="sha256:xyz"), {}),
    "negative ending": (msgspec.structs.replace(DATA_FOUND.header, ending=-5), {}),
    "members of nonsense": (DATA_FOUND.header, {"members": b"nonsense"}),
    "members of too much": (DATA_FOUND.header, {"members": struct.pack("<I", 20) + HUGE_FRAME}),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_nonsense_with_right_hashes_is_corrupt(name: str) -> None:
    header, sections = FORGERIES[name]
    file = io.BytesIO()
    write_index(file, header, DATA_FOUND.sections | sections)
    with pytest.raises(Corrupt):
        everything(file.getvalue())


def test_loading_reads_little_of_what_a_large_layer_has(tmp_path: Path) -> None:
    class Counted(MemoryBlob):
        read = 0

        def pread(self, size: int, offset: int) -> bytes:
            data = super().pread(size, offset)
            self.read += len(data)
            return data

    blob = Counted(WRITTEN)
    assert read_header(blob).size == len(DATA)
    index = LayerIndex.load(blob, lambda: blob)
    size = len(DATA_FOUND.sections["members"])
    assert index.memory < len(WRITTEN) - size
    before = blob.read
    assert len(index.members()) == 300
    assert blob.read - before == size
