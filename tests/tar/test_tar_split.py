"""Tar-splits: parsed, and tars put together with them, by whoever wrote them."""

import gzip
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob import MemoryBlob, Root
from imgfs.blob.file_tree import FileTree
from imgfs.errors import Corrupt, ImgfsError, StoreError
from imgfs.tar import ScannedTar, scan_blob
from imgfs.tar.split import loose_files
from imgfs.tar.split.recipe import parse_recipe
from imgfs.tar.split.split_tar import Split, SplitTar
from tests.images import layer_tar
from tests.splitting import file_line, literal, split_layer, tar_split


def _split(stored: bytes) -> Split:
    return Split(parse_recipe(MemoryBlob(stored), "layer"), "layer")


def _tar(stored: bytes, files: Path) -> SplitTar:
    return SplitTar(lambda: _split(stored), FileTree(Root(files)), None)


def test_a_tar_is_put_together_again(tmp_path: Path) -> None:
    rng = random.Random(1)
    content = {f"folder/{n}": rng.randbytes(rng.choice([0, 1, 511, 512, 513, 70_000])) for n in range(60)}
    tar = layer_tar({"folder/": None, **content, "large": rng.randbytes(1_000_001), "zeros": bytes(2_000)})
    stored = split_layer(tar, tmp_path)
    assert list(_split(stored).members()) == list(scan_blob(MemoryBlob(tar)))
    with _tar(stored, tmp_path) as blob:
        assert blob.known_size is None
        assert blob.size == blob.known_size == len(tar)
        assert blob.pread(len(tar) + 10, 0) == tar
        assert blob.pread(10, len(tar)) == blob.pread(10, len(tar) + 5) == blob.pread(0, 5) == b""
        for _ in range(500):
            offset, size = rng.randrange(len(tar)), rng.choice([1, 512, 5_000, 300_000])
            assert blob.pread(size, offset) == tar[offset : offset + size]


@pytest.mark.parametrize("name", ["f", "f/", "./f", "/f", "x/../f", ".//f", "../../f", "x/../../f/."])
def test_names_are_those_of_the_files_that_engines_made_of_them(tmp_path: Path, name: str) -> None:
    (tmp_path / "f").write_bytes(b"content")
    with _tar(tar_split([file_line(name, b"content")]), tmp_path) as blob:
        assert blob.pread(10, 0) == b"content"


def test_many_readers_may_begin_at_once(tmp_path: Path) -> None:
    tar = layer_tar({f"{number}": bytes([number]) * 300_000 for number in range(8)})
    stored, loads = split_layer(tar, tmp_path), []

    def load() -> Split:
        loads.append(1)
        return _split(stored)

    with SplitTar(load, FileTree(Root(tmp_path)), None) as blob, ThreadPoolExecutor(8) as pool:
        offsets = range(0, len(tar), 100_000)
        assert b"".join(pool.map(lambda offset: blob.pread(100_000, offset), offsets)) == tar
    assert len(loads) == 1


@pytest.mark.parametrize("zeros", [512, 1_000, 5_120, 70_000])
def test_zeros_of_the_last_file_are_not_the_ending(tmp_path: Path, zeros: int) -> None:
    tar = layer_tar({"a": b"a", "zeros": bytes(zeros)})
    with _tar(split_layer(tar, tmp_path), tmp_path) as blob, ScannedTar(MemoryBlob(tar)) as scanned:
        ending = scanned.ending_before(len(tar))
        assert ending == 1536 + zeros + -zeros % 512
        assert blob.ending_before(len(tar)) == ending
        assert blob.ending_before(ending) is None


def test_members_behind_the_last_recorded_one_are_not_the_ending(tmp_path: Path) -> None:
    """The recipe says nothing of the second member, whose header lies where the ending should begin."""
    tar = layer_tar({"a": b"", "b": b""})
    with _tar(tar_split([literal(tar[:512]), file_line("a", b""), literal(tar[512:])]), tmp_path) as blob:
        assert blob.ending_before(len(tar)) == 1024
        assert blob.pread(len(tar), 0) == tar


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


def test_members_are_found_without_all_literals_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    tar = layer_tar({f"{number}": b"" for number in range(1000)})
    split, sizes = _split(tar_split([literal(tar)])), []

    def literals(start: int, end: int) -> bytes:
        sizes.append(end - start)
        return tar[start:end]

    monkeypatch.setattr(split.recipe, "literals", literals)
    assert list(split.members()) == list(scan_blob(MemoryBlob(tar)))
    assert max(sizes) <= 64 << 10


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


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "/../../secret",
        "link/secret",
        "file-link",
        "a/../../secret",
        "absolute/secret",
        "gone",
        "",
        "/",
    ],
)
def test_no_name_leads_out_of_the_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    files = tmp_path / "files"
    (files / "a").mkdir(parents=True)
    (files / "link").symlink_to("..")
    (files / "absolute").symlink_to(tmp_path)
    (files / "file-link").symlink_to(tmp_path / "secret")
    with (
        _tar(tar_split([file_line(name, b"secret")]), files) as blob,
        pytest.raises(StoreError, match="layer: file"),
    ):
        blob.pread(6, 0)


@pytest.mark.parametrize("size", [1_000, 300_000, 3_000_000])
def test_a_file_that_changes_while_it_is_read_is_never_wrong_bytes(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    with _tar(tar_split([literal(b"h" * 512), file_line("file", content)]), tmp_path) as blob:
        assert blob.pread(100, 512 + size // 2) == content[size // 2 :][:100]
        changed = bytearray(content)
        changed[size // 2] ^= 1
        (tmp_path / "file").write_bytes(changed)
        for wanted, offset in ((100, size // 2 - 50), (size, 0), (size - 1, 1)):
            with pytest.raises(Corrupt, match="layer: file 'file' has changed"):
                blob.pread(wanted, 512 + offset)
        (tmp_path / "file").write_bytes(content)
        assert blob.pread(size, 512) == content


@pytest.mark.parametrize("size", [1_000, 100_000, 3_000_000])
def test_a_small_read_of_what_is_in_memory_does_not_wait(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    with _tar(tar_split([literal(b"h" * 512), file_line("file", content)]), tmp_path) as blob:
        assert blob.try_pread(100, 0) is None  # the recipe is not parsed yet
        assert blob.pread(1_000, 0) == (b"h" * 512 + content)[:1_000]
        assert blob.try_pread(300_000, 0) is None
        assert blob.try_pread(100, 0) == b"h" * 100
        (tmp_path / "file").read_bytes()
        assert blob.try_pread(700, 400) in ((b"h" * 112 + content)[:700], None)  # older kernels cannot tell
        assert blob.try_pread(10, 512 + size) == b""
        (tmp_path / "file").write_bytes(bytes(size))
        with suppress(Corrupt):
            assert blob.try_pread(700, 400) is None
        (tmp_path / "file").unlink()
        with suppress(StoreError):
            assert blob.try_pread(700, 400) is None


def test_a_file_too_large_to_be_read_at_once_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loose_files, "_AT_ONCE", 300_000)
    content = random.Random(3).randbytes(1_000_000)
    (tmp_path / "file").write_bytes(content)
    with _tar(tar_split([literal(b"h" * 512), file_line("file", content)]), tmp_path) as blob:
        assert blob.pread(2_000_000, 0) == b"h" * 512 + content


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


@settings(deadline=None)
@given(_LINES, st.integers(0, 5_000), st.integers(0, 5_000))
def test_whatever_it_says_only_known_errors_come_of_it(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, object]], offset: int, size: int
) -> None:
    files = tmp_path_factory.getbasetemp()
    try:
        with _tar(tar_split(lines), files) as blob:
            blob.pread(size, offset)
            blob.ending_before(blob.size)
    except ImgfsError:
        pass


@settings(deadline=None)
@given(_LINES)
def test_members_of_whatever_it_says_are_found_without_files(lines: list[dict[str, object]]) -> None:
    try:
        split = _split(tar_split(lines))
    except Corrupt:
        return
    with suppress(Corrupt):
        list(split.members())
