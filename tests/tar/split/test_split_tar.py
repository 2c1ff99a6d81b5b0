"""Tars put together from a tar-split and files."""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob import MemoryBlob, Root
from imgfs.blob.file_tree import FileTree
from imgfs.errors import Corrupt, ImgfsError
from imgfs.tar import ScannedTar, scan_blob
from imgfs.tar.split.split_tar import Split, SplitTar
from tests.images import layer_tar
from tests.splitting import file_line, literal, split_layer, tar_split
from tests.tar.split.splits import split_of, tar_of

_NAMES = st.one_of(st.text(max_size=20).filter(str.isprintable), st.binary(max_size=20))
_LINES = st.lists(
    st.one_of(
        st.builds(literal, st.binary(max_size=2000)),
        st.builds(file_line, _NAMES, st.binary(max_size=50)),
        st.fixed_dictionaries(
            {"type": st.integers(0, 3)},
            optional={
                "name": st.text(max_size=5).filter(str.isprintable),
                "size": st.integers(-2, 1 << 62),
                "payload": st.one_of(st.none(), st.text("AB=", max_size=13)),
            },
        ),
    ),
    max_size=12,
)


def test_a_tar_is_put_together_again(tmp_path: Path) -> None:
    rng = random.Random(1)
    content = {f"folder/{n}": rng.randbytes(rng.choice([0, 1, 511, 512, 513, 70_000])) for n in range(60)}
    tar = layer_tar({"folder/": None, **content, "large": rng.randbytes(1_000_001), "zeros": bytes(2_000)})
    stored = split_layer(tar, tmp_path)
    assert list(split_of(stored).members()) == list(scan_blob(MemoryBlob(tar)))
    with tar_of(stored, tmp_path) as blob:
        assert blob.known_size is None
        assert blob.size == blob.known_size == len(tar)
        assert blob.pread(len(tar) + 10, 0) == tar
        assert blob.pread(10, len(tar)) == blob.pread(10, len(tar) + 5) == blob.pread(0, 5) == b""
        for _ in range(500):
            offset, size = rng.randrange(len(tar)), rng.choice([1, 512, 5_000, 300_000])
            assert blob.pread(size, offset) == tar[offset : offset + size]


def test_many_readers_may_begin_at_once(tmp_path: Path) -> None:
    tar = layer_tar({f"{number}": bytes([number]) * 300_000 for number in range(8)})
    stored, loads = split_layer(tar, tmp_path), []

    def load() -> Split:
        loads.append(1)
        return split_of(stored)

    with SplitTar(load, FileTree(Root(tmp_path)), None) as blob, ThreadPoolExecutor(8) as pool:
        offsets = range(0, len(tar), 100_000)
        assert b"".join(pool.map(lambda offset: blob.pread(100_000, offset), offsets)) == tar
    assert len(loads) == 1


@pytest.mark.parametrize("zeros", [512, 1_000, 5_120, 70_000])
def test_zeros_of_the_last_file_are_not_the_ending(tmp_path: Path, zeros: int) -> None:
    tar = layer_tar({"a": b"a", "zeros": bytes(zeros)})
    with tar_of(split_layer(tar, tmp_path), tmp_path) as blob, ScannedTar(MemoryBlob(tar)) as scanned:
        ending = scanned.ending_before(len(tar))
        assert ending == 1536 + zeros + -zeros % 512
        assert blob.ending_before(len(tar)) == ending
        assert blob.ending_before(ending) is None


def test_members_behind_the_last_recorded_one_are_not_the_ending(tmp_path: Path) -> None:
    """The recipe says nothing of the second member, whose header lies where the ending should begin."""
    tar = layer_tar({"a": b"", "b": b""})
    with tar_of(tar_split([literal(tar[:512]), file_line("a", b""), literal(tar[512:])]), tmp_path) as blob:
        assert blob.ending_before(len(tar)) == 1024
        assert blob.pread(len(tar), 0) == tar


def test_members_are_found_without_all_literals_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    tar = layer_tar({f"{number}": b"" for number in range(1000)})
    split, sizes = split_of(tar_split([literal(tar)])), []

    def literals(start: int, end: int) -> bytes:
        sizes.append(end - start)
        return tar[start:end]

    monkeypatch.setattr(split.recipe, "literals", literals)
    assert list(split.members()) == list(scan_blob(MemoryBlob(tar)))
    assert max(sizes) <= 64 << 10


@settings(deadline=None)
@given(_LINES, st.integers(0, 5_000), st.integers(0, 5_000))
def test_whatever_it_says_only_known_errors_come_of_it(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, object]], offset: int, size: int
) -> None:
    files = tmp_path_factory.getbasetemp()
    try:
        with tar_of(tar_split(lines), files) as blob:
            blob.pread(size, offset)
            blob.ending_before(blob.size)
    except ImgfsError:
        pass


@settings(deadline=None)
@given(_LINES)
def test_members_of_whatever_it_says_are_found_without_files(lines: list[dict[str, object]]) -> None:
    try:
        split = split_of(tar_split(lines))
    except Corrupt:
        return
    with suppress(Corrupt):
        list(split.members())
