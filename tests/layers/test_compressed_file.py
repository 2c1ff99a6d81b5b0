"""Compressed files of which nothing is recorded: indexed once, read in place or from a copy, noticed when changed."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import pytest

from imgfs.blob import FileBlob, MemoryBlob
from imgfs.cache import Cache
from imgfs.codec import detect
from imgfs.errors import Corrupt, ImgfsError, StoreError
from imgfs.layers import CompressedFile, Indexer
from imgfs.layers.index_file import IndexData
from imgfs.layers.index_pass import IndexPass
from imgfs.layers.member_list import packed_members
from imgfs.tar import scan_blob
from tests.codec.encoders import gzip_member, texture
from tests.conftest import eventually
from tests.images import layer_tar
from tests.indexing import indexing
from tests.layers.stored_layers import ENCODERS, big_tar, layer_of

DATA = big_tar(3_000_000)
LARGE = big_tar(40_000_000)  # of which a single frame is too large to be decoded for one read


@cache
def large(encoder: str) -> bytes:
    """LARGE as it is stored."""
    return ENCODERS[encoder](LARGE)


COMPRESSED = [name for name in ENCODERS if name != "plain"]


def opened(path: Path, indexer: Indexer) -> CompressedFile:
    file = FileBlob(path)
    return CompressedFile(file, detect(file), indexer)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passes that were made, by the name of what they read."""
    made = []
    run = IndexPass.run

    def counted(self: IndexPass, take: Callable[[bytes | memoryview], None]) -> IndexData:
        made.append(self._name)
        return run(self, take)

    monkeypatch.setattr(IndexPass, "run", counted)
    return made


@pytest.mark.parametrize("encoder", COMPRESSED)
def test_a_compressed_tar_reads_at_random_as_the_tar(tmp_path: Path, encoder: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(ENCODERS[encoder](DATA))
    rng = random.Random(encoder)
    with indexing(tmp_path) as indexer, closing(opened(path, indexer)) as file, file.share() as tar:
        assert tar.size == len(DATA)
        for _ in range(50):
            offset, size = rng.randrange(len(DATA)), rng.choice([1, 512, 100_000])
            assert tar.pread(size, offset) == DATA[offset : offset + size]
        assert [member.name for member in file.members()] == [b"file-%d" % number for number in range(12)]


@pytest.mark.parametrize("encoder", COMPRESSED)
def test_a_file_is_decoded_once_for_all_commands(tmp_path: Path, passes: list[str], encoder: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(large(encoder))
    for _ in range(2):
        with indexing(tmp_path) as indexer, closing(opened(path, indexer)) as file, file.share() as tar:
            assert tar.pread(100, 20_000_000) == LARGE[20_000_000:20_000_100]
    assert passes == [str(path)]


@pytest.mark.parametrize(("encoder", "is_kept"), [("zstd frames", False), ("zstd frame", True), ("xz", True)])
def test_a_decoded_copy_is_kept_only_of_what_cannot_be_read_in_place(
    tmp_path: Path, encoder: str, is_kept: bool
) -> None:
    path = tmp_path / "x"
    path.write_bytes(large(encoder))
    with indexing(tmp_path) as indexer:
        opened(path, indexer).close()
    kept = [entry.name.rpartition(".")[2] for entry in Cache(str(tmp_path / "cache"), 1 << 30).entries()]
    assert sorted(kept) == (["copy", "index"] if is_kept else ["index"])


def test_tars_inside_are_indexed_in_the_same_pass(tmp_path: Path, passes: list[str]) -> None:
    """So layers that an archive has uncompressed are found indexed, and verified."""
    layers = [big_tar(5_000_000), layer_tar({"file": texture("noise", 3_000_000, 1)})]
    damaged = layers[0][:4_500_000]
    names = {"one.tar": layers[0], "noise": texture("noise", 2_000_000, 2), "two": layers[1], "cut": damaged}
    path = tmp_path / "x"
    path.write_bytes(gzip_member(layer_tar(names)))
    with indexing(tmp_path) as indexer:
        opened(path, indexer).close()
        for data in layers:
            layer = layer_of(indexer, data, data)
            assert layer.is_verified
            assert list(layer.members()) == list(packed_members(scan_blob(MemoryBlob(data))))
        assert not layer_of(indexer, damaged, damaged).is_verified
        assert passes == [str(path)]


def test_a_copy_that_was_dropped_is_made_again(tmp_path: Path, passes: list[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(large("zstd frame"))
    with indexing(tmp_path) as indexer:
        opened(path, indexer).close()
    for entry in (cache := Cache(str(tmp_path / "cache"), 1 << 30)).entries():
        if entry.name.endswith(".copy"):
            os.unlink(entry.path)
    with indexing(tmp_path) as indexer, closing(opened(path, indexer)) as file, file.share() as tar:
        assert [entry for entry in cache.entries() if entry.name.endswith(".copy")]
        assert tar.pread(100, 20_000_000) == LARGE[20_000_000:20_000_100]
    assert len(passes) == 2


def test_without_room_for_a_copy_reading_is_slow_and_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x"
    path.write_bytes(large("zstd frame"))
    with indexing(tmp_path, limit=1 << 20) as indexer:
        with closing(opened(path, indexer)) as file, file.share() as tar:
            for offset in (30_000_000, 10_000_000):
                assert tar.pread(100, offset) == LARGE[offset : offset + 100]
    assert caplog.messages == [
        f"{path}: reading it is slow, as the cache has no room for a decoded copy (--cache-size)"
    ]


def test_a_file_that_was_replaced_is_indexed_again(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for number in range(3):
        data = layer_tar({"file": texture("noise", 100_000, number)})
        path.write_bytes(gzip_member(data))
        with indexing(tmp_path) as indexer, closing(opened(path, indexer)) as file, file.share() as tar:
            assert tar.pread(1 << 20, 0) == data


def test_a_file_that_is_replaced_while_it_is_open_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip_member(DATA))
    with indexing(tmp_path) as indexer, closing(opened(path, indexer)) as file:
        (tmp_path / "new").write_bytes(b"other")
        os.replace(tmp_path / "new", path)
        with file.share() as tar:
            assert tar.pread(len(DATA), 0) == DATA


@pytest.mark.parametrize("encoder", ["gzip", "zstd frames"])
def test_a_file_that_is_overwritten_while_it_is_open_is_an_error_and_never_wrong_bytes(
    tmp_path: Path, encoder: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes(ENCODERS[encoder](DATA))
    with indexing(tmp_path) as indexer, closing(opened(path, indexer)) as file, file.share() as tar:
        with path.open("r+b") as written:
            written.seek(path.stat().st_size // 2)
            written.write(os.urandom(path.stat().st_size // 4))
        with pytest.raises(Corrupt, match=f"^{path}: .*changed"):
            tar.pread(len(DATA), 0)


def test_a_file_that_is_being_written_to_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip_member(DATA))
    # not to the present, which may be when it was written: file systems have a coarse clock
    monkeypatch.setattr("time.sleep", lambda _: os.utime(path, (0, 0)))
    with indexing(tmp_path) as indexer, pytest.raises(StoreError, match=f"^{path}: it is being written to$"):
        opened(path, indexer)


def test_a_file_that_is_changed_while_it_is_indexed_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip_member(DATA))

    @contextmanager
    def changing(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        assert (label, total) == ("x", path.stat().st_size)
        yield lambda _: os.utime(path, (0, 0))

    with indexing(tmp_path) as indexer:
        indexer.progress = changing
        with pytest.raises(StoreError, match=f"^{path}: it was changed while it was indexed$"):
            opened(path, indexer)


@pytest.mark.parametrize("encoder", COMPRESSED)
def test_a_file_that_is_cut_off_is_an_error_that_names_it(tmp_path: Path, encoder: str) -> None:
    path = tmp_path / "x"
    stored = ENCODERS[encoder](DATA)
    path.write_bytes(stored[: len(stored) // 2])
    with indexing(tmp_path) as indexer, pytest.raises(Corrupt, match=f"^{path}: ") as caught:
        opened(path, indexer)
    assert str(caught.value).count(str(path)) == 1
    assert eventually(lambda: not _is_open(path))


def _is_open(path: Path) -> bool:
    folder = Path("/proc/self/fd")
    return str(path) in (
        os.readlink(folder / name) for name in os.listdir(folder) if (folder / name).is_symlink()
    )


def test_a_damaged_tar_in_a_sound_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip_member(DATA[:1_000_000]))
    with indexing(tmp_path) as indexer, closing(opened(path, indexer)) as file:
        with pytest.raises(Corrupt, match=f"^{path}: tar is cut off at offset 1000000"):
            list(file.members())


@pytest.mark.parametrize(
    ("inside", "why"),
    [
        (b"hello " * 10_000_000, "gzip-compressed, and in that neither a tar nor compressed as"),
        (gzip_member(DATA), "gzip-compressed, and in that gzip-compressed again"),
        (b"\x7fELF" + bytes(10_000_000), "gzip-compressed, and in that an ELF program"),
    ],
)
def test_what_holds_no_tar_is_refused_before_all_of_it_is_decoded(
    tmp_path: Path, passes: list[str], inside: bytes, why: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip_member(inside))
    with indexing(tmp_path) as indexer, pytest.raises(Corrupt, match=f"^{path}: {why}"):
        opened(path, indexer)
    assert not passes


def test_a_small_file_that_decodes_to_very_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgfs.budget.MOST_OF_SMALL", 1 << 20)
    path = tmp_path / "x"
    path.write_bytes(gzip_member(DATA))
    with (
        indexing(tmp_path) as indexer,
        pytest.raises(ImgfsError, match=f"^{path}: .* decode to more than 1 MiB"),
    ):
        opened(path, indexer)


def test_files_of_different_users_share_nothing_in_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip_member(DATA))
    os.chmod(path, 0o666)  # anyone may write to it
    with indexing(tmp_path) as indexer:
        opened(path, indexer).close()
    (entry,) = Cache(str(tmp_path / "cache"), 1 << 30).entries()
    assert entry.name.endswith(".of-1.index")
