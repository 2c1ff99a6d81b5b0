"""The cache directory: bounded, shared, and never in the way."""

import errno
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from imgfs.blob import FileBlob
from imgfs.cache import Cache, CacheEntry
from imgfs.digest import Digest
from imgfs.layers.index_build import DecodedCopy
from tests.tools import require_root

ONE, TWO, THREE = (Digest.of(name) for name in (b"1", b"2", b"3"))
KIB = 1024


def keep(cache: Cache, digest: Digest, data: bytes, kind: str = "index", used: float | None = None) -> None:
    cache.keep(digest, kind, lambda file: file.write(data))
    if used is not None:
        os.utime(path_of(cache, digest, kind), (used, used))


def path_of(cache: Cache, digest: Digest, kind: str = "index") -> str:
    return next(e.path for e in cache.entries() if e.name == f"sha256-{digest.hex}.{kind}")


def read(cache: Cache, digest: Digest, kind: str = "index") -> bytes | None:
    blob = cache.open(digest, kind)
    if blob is None:
        return None
    with blob:
        return blob.pread(1 << 30, 0)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"), 100 * KIB)


def test_what_is_kept_is_found_by_digest_and_kind(cache: Cache) -> None:
    keep(cache, ONE, b"one")
    keep(cache, ONE, b"copy", "copy")
    assert (read(cache, ONE), read(cache, ONE, "copy"), read(cache, TWO)) == (b"one", b"copy", None)
    keep(cache, ONE, b"again")
    assert read(cache, ONE) == b"again"
    cache.discard(ONE, "index")
    cache.discard(TWO, "index")
    assert read(cache, ONE) is None
    assert oct(os.stat(path_of(cache, ONE, "copy")).st_mode & 0o777) == "0o600"


def test_the_least_recently_used_goes_first(cache: Cache) -> None:
    for used, digest in enumerate((ONE, TWO, THREE), 1000):
        keep(cache, digest, os.urandom(30 * KIB), used=used)
    assert read(cache, ONE) is not None  # and is the one used last now
    keep(cache, Digest.of(b"4"), os.urandom(30 * KIB))
    assert read(cache, TWO) is None
    assert read(cache, ONE) is not None
    assert sum(entry.size for entry in cache.entries()) <= cache.limit
    assert [entry.name[7:71] for entry in cache.prune(40 * KIB)] == [THREE.hex, Digest.of(b"4").hex]


def test_more_than_the_whole_budget_is_not_kept(cache: Cache) -> None:
    keep(cache, ONE, os.urandom(200 * KIB))
    assert cache.entries() == []


def test_a_dropped_index_stays_readable_where_it_is_open_and_a_dropped_copy_is_noticed(cache: Cache) -> None:
    keep(cache, ONE, b"i" * 5000)
    keep(cache, ONE, b"c" * 5000, "copy")
    index, copy = cache.open(ONE, "index"), cache.open(ONE, "copy")
    assert index is not None
    assert copy is not None
    assert len(cache.prune(0)) == 2
    assert index.pread(5000, 0) == b"i" * 5000
    assert os.fstat(copy.fileno()).st_size == 0, "its room is needed now"
    index.close()
    copy.close()


def test_what_is_being_written_stays_until_its_process_ends(cache: Cache, tmp_path: Path) -> None:
    partial = cache.begin()
    assert partial is not None
    os.write(partial.fd, b"x" * 50_000)
    assert cache.prune(0) == []
    assert len(cache.entries()) == 1
    program = "import sys; from imgfs.layers import Cache; print(len(Cache(sys.argv[1], 0).prune(0)))"
    command = [sys.executable, "-c", program, str(tmp_path / "cache")]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"0\n"
    assert os.pread(partial.fd, 5, 49_995) == b"xxxxx"
    partial.close()
    assert cache.entries() == []


def test_what_a_killed_process_left_behind_is_dropped(cache: Cache, tmp_path: Path) -> None:
    program = (
        "import os, sys; from imgfs.layers import Cache\n"
        "partial = Cache(sys.argv[1], 1 << 20).begin(); os.write(partial.fd, b'x' * 9000); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "cache")], check=False)
    (entry,) = cache.entries()
    assert entry.name.startswith("partial-")
    assert cache.prune(0) == [entry]
    assert cache.entries() == []


def test_what_a_killed_process_left_behind_is_dropped_when_the_cache_is_opened_or_written(
    cache: Cache, tmp_path: Path
) -> None:
    program = (
        "import os, sys; from imgfs.layers import Cache; Cache(sys.argv[1], 1 << 20).begin(); os._exit(1)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cache")]
    subprocess.run(command, check=False)
    living = cache.begin()
    assert living is not None
    assert len(cache.entries()) == 2
    Cache(str(tmp_path / "cache"), 1 << 20)
    assert len(cache.entries()) == 1
    subprocess.run(command, check=False)
    keep(cache, ONE, b"one")
    assert len(cache.entries()) == 2
    living.place("sha256-00.index")
    living.close()
    assert len(cache.entries()) == 2


def test_files_that_are_not_its_own_are_left_alone(cache: Cache, tmp_path: Path) -> None:
    folder = tmp_path / "cache/1"
    folder.mkdir(0o700, parents=True)
    for name in (
        "passwd",
        ".hidden",
        "sha256-xyz.index",
        "sha256-00",
        "partial",
        "partial-../x".replace("/", "-"),
    ):
        (folder / name).write_bytes(b"precious")
    (folder / f"sha256-{ONE.hex}.index").symlink_to(tmp_path / "cache/1/passwd")
    before = {path.name: path.lstat().st_mtime_ns for path in folder.iterdir()}
    assert cache.entries() == []
    assert read(cache, ONE) is None
    assert cache.prune(0) == []
    Cache(str(tmp_path / "cache"), 1 << 20)
    assert {path.name: path.lstat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_cache_of_another_user_is_not_used_and_one_line_says_so(
    cache: Cache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(cache, ONE, b"one")
    os.chown(tmp_path / "cache", 65534, 65534)
    refused = Cache(str(tmp_path / "cache"), 1 << 20)
    keep(refused, TWO, b"two")
    refused.discard(ONE, "index")
    assert (read(refused, ONE), refused.begin(), refused.entries(), refused.prune(0)) == (None, None, [], [])
    assert read(cache, ONE) == b"one"
    assert len(caplog.messages) == 1
    assert f"{tmp_path / 'cache'} belongs to another user" in caplog.text


def test_what_is_kept_of_places_of_others_is_found_for_these_places_only(cache: Cache) -> None:
    mine = os.geteuid()
    parts = [[mine], [1000], [1001], [1000, 1001], [mine, 1000], [-1]]
    for number, writers in enumerate(parts):
        keep_in = cache.of(writers)
        assert read(keep_in, ONE) is None
        keep_in.keep(ONE, "index", lambda file, number=number: file.write(b"%d" % number))  # type: ignore[misc]
    assert [read(cache.of(writers), ONE) for writers in parts] == [b"%d" % number for number in range(6)]
    assert (read(cache, ONE), read(cache.of([0, mine]), ONE), read(cache.of([1001, 1000]), ONE)) == (
        b"0",
        b"0",
        b"3",
    )
    cache.of([1000]).discard(ONE, "index")
    assert read(cache.of([1000]), ONE) is None
    assert len(cache.prune(0)) == 5


def test_a_cache_that_was_removed_while_it_is_used_is_made_again(cache: Cache, tmp_path: Path) -> None:
    keep(cache, ONE, b"one")
    shutil.rmtree(tmp_path / "cache")
    assert read(cache, ONE) is None
    keep(cache, TWO, b"two")
    assert read(cache, TWO) == b"two"


def test_many_processes_share_it(cache: Cache, tmp_path: Path) -> None:
    """Each keeps, reads and prunes; a reader gets all that some process wrote."""
    program = """
import sys, random
from imgfs.digest import Digest
from imgfs.layers import Cache
cache, dice = Cache(sys.argv[1], 300 << 10), random.Random(sys.argv[2])
found = 0
for _ in range(150):
    number = dice.randrange(12)
    digest = Digest.of(b"%d" % number)
    if (blob := cache.open(digest, "index")) is not None:
        data = blob.pread(1 << 20, 0)
        assert data == b"%d " % number * (len(data) // len(b"%d " % number)) and len(data) >= 40_000
        blob.close()
        found += 1
    else:
        cache.keep(digest, "index", lambda file: file.write(b"%d " % number * 20_000))
assert found
"""
    folder = str(tmp_path / "cache")
    processes = [subprocess.Popen([sys.executable, "-c", program, folder, str(seed)]) for seed in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert not [entry for entry in cache.entries() if entry.name.startswith("partial-")]


def test_files_of_other_users_are_not_used(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    require_root()
    keep(cache, ONE, b"forged")
    os.chown(path_of(cache, ONE), 12345, 12345)
    assert read(cache, ONE) is None
    assert "other users may write to it" in caplog.text
    keep(cache, ONE, b"mine")
    assert read(cache, ONE) == b"mine"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_files_that_others_may_write_are_not_used(cache: Cache, mode: int) -> None:
    keep(cache, ONE, b"forged")
    os.chmod(path_of(cache, ONE), mode)
    assert read(cache, ONE) is None


def test_nothing_but_files_is_opened_or_emptied(cache: Cache, tmp_path: Path) -> None:
    """A link that was planted there leads to another file, which must stay as it is."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    keep(cache, TWO, b"x", "copy")
    folder = os.path.dirname(path_of(cache, TWO, "copy"))
    os.link(victim, os.path.join(folder, f"sha256-{ONE.hex}.copy"))
    os.symlink(victim, os.path.join(folder, f"sha256-{THREE.hex}.copy"))
    os.mkfifo(os.path.join(folder, f"sha256-{THREE.hex}.index"))
    assert cache.open(THREE, "index") is None
    cache.prune(0)
    assert victim.read_bytes() == b"precious"


def read_only(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)


@pytest.fixture
def mounts() -> Iterator[list[Path]]:
    require_root()
    folders: list[Path] = []
    yield folders
    for folder in folders:
        subprocess.run(["umount", "-l", folder], check=False)


def test_a_read_only_cache_is_read_and_complained_about_once(
    tmp_path: Path, mounts: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cache"
    keep(Cache(str(folder), 1 << 20), ONE, b"one")
    mounts.append(folder)
    read_only(folder)
    cache = Cache(str(folder), 1 << 20)
    assert read(cache, ONE) == b"one"
    keep(cache, TWO, b"two")
    assert cache.begin() is None
    assert read(cache, TWO) is None
    cache.discard(ONE, "index")
    cache.prune(0)
    assert read(cache, ONE) == b"one"
    assert caplog.text.count("working without what it cannot keep") == 1


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, mounts: list[Path]) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    mounts.append(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
    cache = Cache(str(folder), 1 << 30)
    keep(cache, ONE, b"1" * 100_000)
    keep(cache, TWO, b"2" * 300_000)
    assert read(cache, ONE) == b"1" * 100_000
    assert read(cache, TWO) is None
    partial = cache.begin()
    assert partial is not None
    copy = DecodedCopy(cache, partial)
    assert copy.append(b"x" * 50_000)
    assert not copy.append(b"x" * 300_000)
    copy.close()
    assert len(cache.entries()) == 1, "nothing half written is left"


def test_a_cache_that_cannot_be_made_is_an_empty_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        cache = Cache(str(tmp_path / "file" / "cache"), 1 << 20)
    assert cache.begin() is None
    keep(cache, ONE, b"one")
    assert (read(cache, ONE), cache.entries(), cache.prune(0)) == (None, [], [])
    assert os.strerror(errno.ENOTDIR) in caplog.text


def test_a_failed_write_leaves_nothing(cache: Cache) -> None:
    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(errno.EIO, "the disk is on fire")

    cache.keep(ONE, "index", fail)
    assert cache.entries() == []


def test_a_copy_has_holes_and_stops_at_the_budget(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "cache"), 4 << 20)
    partial = cache.begin()
    assert partial is not None
    copy = DecodedCopy(cache, partial)
    data = b"a" * 70_000 + bytes(2 << 20) + b"b" * 10 + bytes(300_000)
    for start in range(0, len(data), 1 << 20):
        assert copy.append(memoryview(data)[start : start + (1 << 20)])
    assert copy.pread(len(data), 0) == data
    assert copy.pread(100, len(data) - 50) == bytes(50)
    assert os.fstat(partial.fd).st_blocks * 512 < 400_000
    cache.keep_partial(partial, ONE, "copy")
    assert copy.append(os.urandom(1 << 20))
    assert not copy.append(os.urandom(1 << 20)), "more than the budget"
    os.ftruncate(partial.fd, 1000)
    assert copy.pread(2000, 0) is None, "never zeros for what is gone"
    copy.close()


def test_the_copy_that_grows_makes_others_go(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "cache"), 100 << 20)
    keep(cache, ONE, os.urandom(60 << 20), "copy", used=1000)
    partial = cache.begin()
    assert partial is not None
    copy = DecodedCopy(cache, partial)
    block = os.urandom(1 << 20)
    for _ in range(70):
        assert copy.append(block)
    assert read(cache, ONE, "copy") is None
    copy.close()


def test_an_open_file_stays_what_it_was_when_it_is_replaced(cache: Cache) -> None:
    keep(cache, ONE, b"old")
    blob = cache.open(ONE, "index")
    assert isinstance(blob, FileBlob)
    keep(cache, ONE, b"new")
    assert blob.pread(9, 0) == b"old"
    blob.close()


def test_a_full_cache_looks_at_all_its_files_now_and_then_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(str(tmp_path / "cache"), 1000 * KIB)
    scans = 0
    scan = Cache._scan

    def counted(self: Cache, prefix: str = "") -> Iterator[CacheEntry]:
        nonlocal scans
        scans += 1
        return scan(self, prefix)

    monkeypatch.setattr(Cache, "_scan", counted)
    for number in range(1000):
        cache.keep(Digest.of(b"%d" % number), "span", lambda file: file.write(bytes(4096)))
    assert scans < 400
    assert cache.limit * 0.9 < sum(entry.size for entry in cache.entries()) <= cache.limit
