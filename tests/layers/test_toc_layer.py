"""Layers that are read by their tables of contents."""

import io
import json
import random
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.blob import Blob, MemoryBlob
from imgfs.cache import Cache
from imgfs.codec.span_cache import SpanCache
from imgfs.codec.zstd_module import zstd
from imgfs.digest import ChainID, DiffID, Digest
from imgfs.errors import Corrupt
from imgfs.layers import BlobLayer, Indexer
from imgfs.layers.member_list import MemberList
from imgfs.layers.toc_entries import parse_toc
from imgfs.layers.toc_layer import TocLayer, TocUse
from imgfs.layers.toc_pin import Form, no_external_toc, pin_of, read_toc
from imgfs.tree import Tree
from tests.chunked import Chunked, digest, estargz, zstd_chunked

NOISE = random.Random(3)
BIG = NOISE.randbytes(150_000) + bytes(200_000) + NOISE.randbytes(70_000)


def hard_tar() -> bytes:
    """A tar with members of every kind."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def add(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **more: object) -> None:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.mtime, member.mode = kind, len(data), 1_700_000_000, 0o644
            for key, value in more.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(data))

        add("etc", tarfile.DIRTYPE, mode=0o755, uid=1, gid=2)
        add("etc/small", data=b"small\n", mode=0o4755, uid=1000, gid=1000)
        add("etc/empty")
        add("etc/big", data=BIG)
        add("etc/noise", data=BIG[:130_000])
        add("etc/link", tarfile.SYMTYPE, linkname="../etc/small", mode=0o777)
        add("etc/hard", tarfile.LNKTYPE, linkname="etc/big")
        add("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3)
        add("dev/disk", tarfile.BLKTYPE, devmajor=8, devminor=1)
        add("dev/pipe", tarfile.FIFOTYPE)
        add("etc/.wh.gone")
        add("var/.wh..wh..opq")
        add("x" * 90 + "/" + "y" * 200, data=b"long")
        add("etc/caps", data=b"c", pax_headers={"SCHILY.xattr.user.name": "value"})
        add("etc/same", data=b"small\n")
    return buffer.getvalue()


TAR = hard_tar()
MADE = {
    "eStargz": lambda: estargz(TAR),
    "eStargz, shared members": lambda: estargz(TAR, least=1000),
    "zstd:chunked": lambda: zstd_chunked(TAR),
    "zstd:chunked without a tar-split": lambda: zstd_chunked(TAR, with_split=False),
    "old zstd:chunked": lambda: zstd_chunked(TAR, with_split=False, old=True),
}


class Stored(MemoryBlob):
    """Stored bytes whose reads are counted."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.ranges: list[tuple[int, int]] = []

    def pread(self, size: int, offset: int) -> bytes:
        data = super().pread(size, offset)
        self.ranges.append((len(data), offset))
        return data

    @property
    def bytes(self) -> int:
        return sum(size for size, _ in self.ranges)


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with closing(Indexer(Cache(str(tmp_path / "cache"), 1 << 30))) as indexer:
        yield indexer


def toc_layer(made: Chunked, indexer: Indexer, stored: Blob | None = None) -> TocLayer:
    diff_id = DiffID(made.diff_id)
    opened = stored or MemoryBlob(made.stored)
    blob = BlobLayer(
        ChainID(diff_id), diff_id, None, lambda: opened, indexer, Digest(made.digest), is_doubtful=True
    )
    pin = pin_of(made.annotations)
    assert pin is not None
    return TocLayer(blob, pin, SpanCache(None, 0))


def none() -> bytes:
    """Finds no table in another image."""
    return no_external_toc(Digest(digest(b"")))


def described(tree: Tree) -> dict[bytes, tuple[object, ...]]:
    found: dict[bytes, tuple[object, ...]] = {}
    for entry in tree.walk():
        columns = (tree.modes, tree.uids, tree.gids, tree.sizes, tree.mtimes, tree.links)
        more = (tree.target(entry) if tree.modes[entry] >> 12 == 10 else b"", tree.devices.get(entry))
        found[tree.path(entry)] = (*(column[entry] for column in columns), *more, tree.xattrs.get(entry))
    return found


def contents(layer: TocLayer, tree: Tree) -> dict[bytes, bytes]:
    """What the files of a tree hold, read at the places that it says."""
    found = {}
    with layer.open_content(tree.copies.get(0)) as blob:
        for entry in tree.walk():
            if tree.modes[entry] >> 12 != 8:
                continue
            first = tree.inode(entry)
            place = tree.records[first] + tree.headers[first]
            data = bytearray(tree.sizes[first])
            for offset, length in tree.sparse.get(first, [(0, len(data))]):
                data[offset : offset + length] = blob.pread(length, place)
                place += length
            found[tree.path(entry)] = bytes(data)
    return found


@pytest.mark.parametrize("name", MADE)
def test_the_tree_and_the_contents_are_those_of_the_tar(name: str, indexer: Indexer) -> None:
    made = MADE[name]()
    layer = toc_layer(made, indexer)
    tree = layer.tree()
    read = contents(layer, tree)
    assert tree.copies
    assert not layer.is_verified
    whole = toc_layer(made, indexer)
    with whole.blob.content() as content:
        content.wait_for_index()
    of_tar = whole.tree()
    assert whole.is_verified
    assert not of_tar.copies
    assert described(tree) == described(of_tar)
    assert read == contents(whole, of_tar)
    assert read[b"etc/big"] == read[b"etc/hard"] == BIG
    layer.compare()


@pytest.mark.parametrize("name", MADE)
def test_listing_reads_the_table_and_a_file_its_chunks(name: str, indexer: Indexer) -> None:
    made = MADE[name]()
    stored = Stored(made.stored)
    layer = toc_layer(made, indexer, stored)
    tree = layer.tree()
    assert len(stored.ranges) <= 3
    assert stored.bytes <= 66 << 10
    stored.ranges.clear()
    with layer.open_content(tree.copies[0]) as blob:
        entry = next(entry for entry in tree.walk() if tree.path(entry) == b"etc/small")
        assert blob.pread(6, tree.records[entry]) == b"small\n"
    assert len(stored.ranges) <= 2
    assert stored.bytes < 2000


@pytest.mark.parametrize("chunk_size", [64 << 10, 1 << 20])
def test_with_a_tar_split_the_tar_is_the_same_byte_for_byte(chunk_size: int, indexer: Indexer) -> None:
    made = zstd_chunked(TAR, chunk_size)
    stored = Stored(made.stored)
    layer = toc_layer(made, indexer, stored)
    with layer.open() as tar:
        assert tar.size == len(TAR)
        assert tar.pread(len(TAR), 0) == TAR
        for offset in range(0, len(TAR), 9_999):
            assert tar.pread(20_000, offset) == TAR[offset : offset + 20_000]
        assert tar.ending_before(len(TAR)) == -(-len(TAR.rstrip(b"\0")) // 512) * 512
    assert layer.known_size == len(TAR)
    assert (0, 0) not in stored.ranges


def test_without_a_tar_split_the_tar_is_read_whole(indexer: Indexer) -> None:
    for made in (estargz(TAR), zstd_chunked(TAR, with_split=False)):
        with toc_layer(made, indexer).open() as tar:
            assert tar.pread(len(made.tar), 0) == made.tar


@pytest.mark.parametrize("name", MADE)
def test_no_wrong_byte_is_shown_whichever_is_flipped(name: str, indexer: Indexer) -> None:
    made = MADE[name]()
    right = toc_layer(made, indexer)
    expected = contents(right, right.tree())
    errors = 0
    for position in range(3, len(made.stored), max(1, len(made.stored) // 150)):
        stored = bytearray(made.stored)
        stored[position] ^= 0x10
        layer = toc_layer(made, indexer, MemoryBlob(bytes(stored)))
        try:
            tree = layer.tree()
            assert contents(layer, tree).items() <= expected.items()
        except Corrupt:
            errors += 1
        try:
            with layer.open() as tar:
                assert tar.pread(len(made.tar), 0) == made.tar
        except Corrupt:
            errors += 1
    assert errors > 50


def with_table(made: Chunked, change: dict[str, object]) -> Chunked:
    """The same layer with another table, rightly pinned, of which the first entry with content is changed."""
    pin = pin_of(made.annotations)
    assert pin is not None
    table = json.loads(read_toc(pin, MemoryBlob(made.stored), "it", SpanCache(None, 0), none)[0])
    next(entry for entry in table["entries"] if entry.get("size")).update(change)
    text = json.dumps(table).encode()
    packed = zstd.compress(text)
    prefix = "io.github.containers.zstd-chunked."
    place = f"{len(made.stored) + 8}:{len(packed)}:{len(text)}:1"
    stored = made.stored + b"\x50\x2a\x4d\x18" + len(packed).to_bytes(4, "little") + packed
    pins = {prefix + "manifest-checksum": digest(packed), prefix + "manifest-position": place}
    return Chunked(stored, made.tar, made.annotations | pins)


@pytest.mark.parametrize(
    "change",
    [{"mode": 0o777}, {"uid": 7}, {"name": "etc/other"}, {"modtime": "2001-01-01T00:00:00Z"}, {"size": 3}],
)
def test_a_table_that_disagrees_with_the_tar_is_found(change: dict[str, object], indexer: Indexer) -> None:
    layer = toc_layer(with_table(zstd_chunked(TAR), change), indexer)
    with pytest.raises(
        Corrupt, match=r"its table of contents and its tar(-split)? differ at 'etc|its table of contents"
    ):
        layer.compare()


def test_another_content_than_the_tar_has_is_found(indexer: Indexer) -> None:
    other = zstd_chunked(TAR.replace(b"small\n", b"SMALL\n"))
    pin = pin_of(other.annotations)
    assert pin is not None
    first = next(
        e
        for e in json.loads(read_toc(pin, MemoryBlob(other.stored), "it", SpanCache(None, 0), none)[0])[
            "entries"
        ]
        if e.get("size")
    )
    layer = toc_layer(with_table(zstd_chunked(TAR), {"digest": first["digest"]}), indexer)
    with pytest.raises(Corrupt, match="another 'etc/small' than its tar"):
        layer.compare()


def test_a_tar_split_of_other_files_is_not_used(indexer: Indexer, caplog: pytest.LogCaptureFixture) -> None:
    layer = toc_layer(with_table(zstd_chunked(TAR), {"name": "etc/other"}), indexer)
    with layer.open() as tar:
        assert tar.pread(len(TAR), 0) == TAR
    assert "its tar-split and its table of contents differ at 'etc/small'" in caplog.text
    assert "all of the layer is read instead" in caplog.text


def test_a_tar_split_with_other_metadata_is_not_used(
    indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    layer = toc_layer(with_table(zstd_chunked(TAR), {"mode": 0o777}), indexer)
    with layer.open() as tar:
        assert tar.pread(len(TAR), 0) == TAR
    assert "its table of contents and its tar-split differ at 'etc/small'" in caplog.text


def test_a_table_that_is_another_one_is_not_used(indexer: Indexer, caplog: pytest.LogCaptureFixture) -> None:
    made = estargz(TAR)
    made.annotations = {key: digest(b"another") for key in made.annotations}
    layer = toc_layer(made, indexer)
    assert described(layer.tree())
    assert not layer.tree().copies
    assert caplog.text.count("failed to verify") == 1
    assert "failed to verify" in layer.failure


def test_two_digests_must_be_of_one_table(indexer: Indexer, caplog: pytest.LogCaptureFixture) -> None:
    made = zstd_chunked(TAR)
    pin = pin_of(made.annotations)
    assert pin is not None
    table = read_toc(pin, MemoryBlob(made.stored), "it", SpanCache(None, 0), none)[0]
    made.annotations[STARGZ] = digest(table)
    assert toc_layer(made, indexer).tree().copies
    made.annotations[STARGZ] = digest(b"another")
    layer = toc_layer(made, indexer)
    assert described(layer.tree())
    assert not layer.tree().copies
    assert "the layer names two tables" in caplog.text


def test_old_and_external_footers_of_estargz_are_known() -> None:
    made = estargz(TAR)
    pin = pin_of(made.annotations)
    assert pin is not None
    place = made.stored[-51:][16:38]
    old, external = (
        b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + len(extra).to_bytes(2, "little") + extra
        for extra in (place, b"SG\x11\x00STARGZEXTERNALTOC")
    )
    end = b"\x01\x00\x00\xff\xff" + bytes(8)
    expected = read_toc(pin, MemoryBlob(made.stored), "it", SpanCache(None, 0), none)
    assert (
        read_toc(pin, MemoryBlob(made.stored[:-51] + old + end), "it", SpanCache(None, 0), none) == expected
    )
    with pytest.raises(Corrupt, match="it is in an image of its own: no image has"):
        read_toc(pin, MemoryBlob(made.stored[:-51] + external + end), "it", SpanCache(None, 0), none)


STARGZ = "containerd.io/snapshot/stargz/toc.digest"
OLD = "io.containers.zstd-chunked."
ENTRY = {"name": "a", "type": "reg", "size": 5, "digest": digest(b"x"), "offset": 0}


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([ENTRY | {"digest": ""}], "no digest of 'a'"),
        ([ENTRY | {"digest": "sha512:" + "0" * 128}], "has no sha256 digest"),
        ([ENTRY | {"offset": 1000}], "outside of the layer's data"),
        ([ENTRY | {"offset": -1}], "outside of the layer's data"),
        ([ENTRY | {"innerOffset": 1 << 39}], "outside of the layer's data"),
        ([ENTRY | {"type": "door"}], "of an unknown type, 'door'"),
        ([{"name": "a", "type": "chunk"}], "of an unknown type, 'chunk'"),
        ([ENTRY | {"chunkSize": 3}], "have 3 of its 5 bytes"),
        ([ENTRY | {"chunkSize": 9}], "do not follow each other"),
        (
            [ENTRY | {"chunkSize": 3}, {"type": "chunk", "chunkOffset": 4, "offset": 1}],
            "do not follow each other",
        ),
        ([ENTRY | {"size": -1}], "'a' has -1 bytes"),
        ([ENTRY | {"size": 1 << 40}], "too large"),
        ([ENTRY | {"size": (1 << 62) - 1}] * 6, "too large"),
        ([ENTRY | {"mode": -1}], "'a' has mode -1"),
        ([ENTRY | {"mode": 1 << 70}], "'a' has mode"),
        ([ENTRY | {"uid": -5}], "-5 is the number of no owner"),
        ([ENTRY | {"modtime": "yesterday"}], "'yesterday' is no time"),
        ([ENTRY | {"xattrs": {"user.a": "!"}}], "not in base64"),
        ([ENTRY | {"xattrs": {"user.a": "A" * (1 << 20)}}], "the attributes of 'a' take"),
        ([ENTRY | {"xattrs": {"user.a": 5}}], "not in base64"),
        ([{"name": "a\ufffd", "type": "dir"}], "a name that JSON cannot hold"),
        ([{"name": "a", "type": "symlink", "linkName": "\ufffd"}], "a name that JSON cannot hold"),
        ([{}] * 500_000, "entries take more than 192 MiB"),
    ],
)
def test_a_table_that_describes_what_cannot_be_is_refused(entries: list[dict[str, object]], why: str) -> None:
    data = json.dumps({"version": 1, "entries": entries}).encode()
    with pytest.raises(Corrupt, match=why) as raised:
        parse_toc(data, 100, "layer x")
    assert str(raised.value).startswith("layer x: ")


@pytest.mark.parametrize("data", [b"", b"[]", b'{"version": 2}', b'{"version": 1, "entries": 5}'])
def test_what_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt, match="layer x: "):
        parse_toc(data, 100, "layer x")


def test_times_have_zones_and_fractions() -> None:
    entry = {"name": "a", "type": "dir", "modtime": "2023-11-14T23:13:20.5+01:00"}
    toc = parse_toc(json.dumps({"version": 1, "entries": [entry]}).encode(), 100, "it")
    (member,) = MemberList(toc.packed)
    assert member.mtime_ns == 1_700_000_000_500_000_000


def test_which_tables_are_used_is_the_users_choice() -> None:
    with_split, without = pin_of(zstd_chunked(TAR).annotations), pin_of(estargz(TAR).annotations)
    assert with_split is not None
    assert without is not None
    assert (with_split.form, without.form) == (Form.ZSTD_CHUNKED, Form.ESTARGZ)
    assert [TocUse(use).allows(with_split) for use in ("never", "tarsplit", "any")] == [False, True, True]
    assert [TocUse(use).allows(without) for use in ("never", "tarsplit", "any")] == [False, False, True]


@pytest.mark.parametrize(
    "annotations",
    [
        {},
        {"containerd.io/snapshot/stargz/toc.digest": "sha256:12"},
        {f"{OLD}manifest-checksum": digest(b"")},
        {f"{OLD}manifest-checksum": digest(b""), f"{OLD}manifest-position": "1:x"},
        {"containerd.io/snapshot/stargz/toc.digest": 5},
    ],
)
def test_annotations_that_pin_nothing(annotations: dict[str, object]) -> None:
    assert pin_of(annotations) is None
