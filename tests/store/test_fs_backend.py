"""What a backend in a directory does besides what every backend does."""

import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from imgfs.digest import ImageID
from imgfs.errors import Corrupt, ImgfsError, MetadataNotFound, NotFound, StoreError
from imgfs.layers import LayerRegistry
from imgfs.store import MAX_CONFIG_SIZE, FSBackend, ImageStore
from tests.store.stores import Layers, config

DATA = b"foobar"
ID = ImageID.of(DATA)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "image/overlay2/imagedb"


@pytest.fixture
def backend(root: Path) -> FSBackend:
    return FSBackend(root)


def snapshot(root: Path) -> dict[str, bytes | None]:
    """Every path below a directory, with content and, for directories, None."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in root.rglob("*")
    }


def test_its_files_lie_where_moby_looks_for_them(root: Path, backend: FSBackend) -> None:
    backend.set(DATA, {"parent": b"sha256:abc"})
    backend.set_metadata(ID, "lastUpdated", b"2024-01-02T03:04:05.678901234Z")
    assert snapshot(root) == {
        "content": None,
        "content/sha256": None,
        f"content/sha256/{ID.hex}": DATA,
        "metadata": None,
        "metadata/sha256": None,
        f"metadata/sha256/{ID.hex}": None,
        f"metadata/sha256/{ID.hex}/parent": b"sha256:abc",
        f"metadata/sha256/{ID.hex}/lastUpdated": b"2024-01-02T03:04:05.678901234Z",
        "staging": None,
    }


def test_what_moby_left_opens_as_it_is_and_stays_so(root: Path) -> None:
    """Its own folders, a parent without an end of line, and metadata of keys that imgfs does not know."""
    base, child = config("base", os="linux", created="2024-01-02T03:04:05.678901234Z"), config("child")
    for data in (base, child):
        (root / "content/sha256").mkdir(parents=True, exist_ok=True)
        (root / "content/sha256" / ImageID.of(data).hex).write_bytes(data)
    values = root / "metadata/sha256" / ImageID.of(child).hex
    values.mkdir(parents=True)
    (values / "parent").write_text(ImageID.of(base))
    (values / "lastUpdated").write_text("2024-01-02T03:04:05.678901234+02:00")
    (values / "other").write_text("?")
    before = snapshot(root)
    store = ImageStore(FSBackend(root, read_only=True), Layers())
    assert list(store.map()) == sorted([ImageID.of(base), ImageID.of(child)])
    assert store.get_parent(ImageID.of(child)) == ImageID.of(base)
    updated = store.get_last_updated(ImageID.of(child))
    assert updated is not None
    assert updated.isoformat() == "2024-01-02T01:04:05.678901+00:00"
    store.refresh()
    assert snapshot(root) == before


@pytest.mark.parametrize("damage", [b"foobaz", b"foobar\n", b"fooba", b"", bytes(MAX_CONFIG_SIZE + 1)])
def test_tampered_content_is_never_returned(root: Path, backend: FSBackend, damage: bytes) -> None:
    backend.set(DATA, {"key": b"value"})
    (root / "content/sha256" / ID.hex).write_bytes(damage)
    problem = "larger than" if len(damage) > MAX_CONFIG_SIZE else f"failed to verify image: {ID}"
    kind = StoreError if len(damage) > MAX_CONFIG_SIZE else Corrupt
    with pytest.raises(kind, match=problem):
        backend.get(ID)
    with pytest.raises(kind, match=problem):
        backend.get_metadata(ID, "key")
    with pytest.raises(kind, match=problem):
        backend.set_metadata(ID, "key", b"other")
    assert backend.walk() == [ID]


def test_setting_tampered_content_again_mends_it(root: Path, backend: FSBackend) -> None:
    backend.set(DATA, {"key": b"value"})
    (root / "content/sha256" / ID.hex).write_bytes(b"tampered")
    assert backend.set(DATA) == ID
    assert backend.get(ID) == DATA
    assert backend.get_metadata(ID, "key") == b"value"


def test_walking_skips_what_is_no_config(
    root: Path, backend: FSBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.set(DATA)
    content = root / "content/sha256"
    for name in ("foobar", ".hidden", ID.hex[:63], ID.hex + "0", ID.hex.upper(), "sha256:" + ID.hex):
        (content / name).write_bytes(DATA)
    (root / "content/sha512").mkdir()
    with caplog.at_level(logging.DEBUG):
        assert backend.walk() == [ID]
    assert sum("skipping" in record.getMessage() for record in caplog.records) == 6


def test_a_config_that_is_no_regular_file_is_walked_and_not_read(root: Path, backend: FSBackend) -> None:
    content = root / "content/sha256"
    backend.set(DATA)
    (content / ("1" * 64)).mkdir()
    (content / ("2" * 64)).symlink_to(ID.hex)
    os.mkfifo(content / ("3" * 64))
    odd = [ImageID.from_hex(digit * 64) for digit in "123"]
    assert backend.walk() == sorted([*odd, ID])
    for image_id in odd:
        with pytest.raises(StoreError, match=f"failed to get digest {image_id}"):
            backend.get(image_id)


def test_links_and_pipes_are_not_read_as_configs(root: Path, backend: FSBackend) -> None:
    content = root / "content/sha256" / ID.hex
    target = root / "target"
    target.write_bytes(DATA)
    content.symlink_to(target)
    with pytest.raises(StoreError, match=f"failed to get digest {ID}"):
        backend.get(ID)
    content.unlink()
    os.mkfifo(content)
    with pytest.raises(StoreError, match="not a regular file"):
        backend.get(ID)
    content.unlink()
    content.mkdir()
    gc.collect()  # what earlier tests left open
    open_files = os.listdir("/proc/self/fd")
    with pytest.raises(StoreError, match=f"failed to get digest {ID}: {content}: not a regular file"):
        backend.get(ID)
    assert os.listdir("/proc/self/fd") == open_files


def test_links_and_large_files_are_not_read_as_metadata(root: Path, backend: FSBackend) -> None:
    backend.set(DATA, {"key": b"value"})
    value = root / "metadata/sha256" / ID.hex / "key"
    value.write_bytes(bytes((64 << 10) + 1))
    with pytest.raises(StoreError, match="larger than"):
        backend.get_metadata(ID, "key")
    value.unlink()
    value.symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match=f"failed to read metadata key of {ID}"):
        backend.get_metadata(ID, "key")


@pytest.mark.parametrize("place", [".", "content", "content/sha256", "metadata", "metadata/sha256"])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_where_a_directory_should_be_is_named(root: Path, place: str, read_only: bool) -> None:
    if place.startswith("metadata"):
        (root / "content/sha256").mkdir(parents=True)
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(StoreError, match=f"storage backend: {path}: not a directory"):
        FSBackend(root, read_only=read_only)


def test_a_directory_without_metadata_can_be_read(root: Path) -> None:
    (root / "content/sha256").mkdir(parents=True)
    (root / "content/sha256" / ID.hex).write_bytes(DATA)
    backend = FSBackend(root, read_only=True)
    assert backend.get(ID) == DATA
    with pytest.raises(MetadataNotFound):
        backend.get_metadata(ID, "parent")


def test_what_is_opened_read_only_must_be_there(root: Path) -> None:
    with pytest.raises(StoreError, match=f"failed to open storage backend: {root}: No such file"):
        FSBackend(root, read_only=True)
    assert not root.exists()


def test_what_is_opened_read_only_is_never_written(root: Path) -> None:
    FSBackend(root).set(DATA, {"key": b"value"})
    (root / "staging/old").write_bytes(b"")
    os.utime(root / "staging/old", (0, 0))
    before = snapshot(root)
    backend = FSBackend(root, read_only=True)
    for change in (
        lambda: backend.set(b"other"),
        lambda: backend.set(DATA),
        lambda: backend.delete(ID),
        lambda: backend.set_metadata(ID, "key", b"other"),
        lambda: backend.delete_metadata(ID, "key"),
    ):
        with pytest.raises(StoreError, match=f"{root} is opened read-only"):
            change()
    assert (backend.walk(), backend.get(ID), backend.get_metadata(ID, "key")) == ([ID], DATA, b"value")
    assert snapshot(root) == before


def test_an_image_store_can_be_read_that_nobody_may_write(root: Path) -> None:
    store = ImageStore(FSBackend(root), LayerRegistry(Layers().get))
    image_id = store.create(config("kept"))
    again = ImageStore(FSBackend(root, read_only=True), Layers())
    assert list(again.map()) == [image_id]
    with pytest.raises(StoreError, match="opened read-only"):
        again.create(config("new"))
    with pytest.raises(StoreError, match="opened read-only"):
        again.delete(image_id)
    assert list(again.map()) == [image_id]


def test_values_that_a_killed_writer_left_are_not_the_next_ones(root: Path, backend: FSBackend) -> None:
    left = root / "metadata/sha256" / ID.hex
    left.mkdir()
    (left / "parent").write_bytes(b"sha256:abc")
    backend.set(DATA)
    with pytest.raises(MetadataNotFound):
        backend.get_metadata(ID, "parent")


def test_what_writers_staged_long_ago_is_swept_and_what_is_new_is_not(root: Path, backend: FSBackend) -> None:
    old, new = root / "staging/old", root / "staging/new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    FSBackend(root)
    assert [path.exists() for path in (old, new)] == [False, True]


def test_a_failed_write_leaves_no_trace(root: Path, backend: FSBackend) -> None:
    (root / "content/sha256").rmdir()
    (root / "content/sha256").write_bytes(b"")  # no file can lie in there
    with pytest.raises(StoreError, match=f"failed to write digest data {ID}"):
        backend.set(DATA)
    assert os.listdir(root / "staging") == []


def test_a_directory_in_place_of_a_config_is_not_deleted_but_replaced(root: Path, backend: FSBackend) -> None:
    (root / "content/sha256" / ID.hex / "inside").mkdir(parents=True)
    with pytest.raises(StoreError, match=f"failed to delete {ID}"):
        backend.delete(ID)
    backend.set(DATA, {"key": b"value"})
    assert (backend.get(ID), backend.get_metadata(ID, "key")) == (DATA, b"value")


def test_a_deleted_image_is_gone_even_if_its_metadata_stays(
    root: Path, backend: FSBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.set(DATA, {"key": b"value"})
    values = root / "metadata/sha256"
    os.rename(values / ID.hex, root / "elsewhere")
    (values / ID.hex).symlink_to(root / "elsewhere")  # a link is removed, not what it leads to
    backend.delete(ID)
    with pytest.raises(NotFound):
        backend.get(ID)
    assert (root / "elsewhere/key").read_bytes() == b"value"
    assert caplog.records == []


@pytest.mark.parametrize(
    "place",
    ["content", "content/sha256", "metadata", "metadata/sha256", "staging", "metadata/sha256/" + ID.hex],
)
def test_nothing_is_read_written_or_removed_through_a_link_in_the_place_of_a_folder(
    root: Path, backend: FSBackend, place: str
) -> None:
    """A store of another user, who has put the link there."""
    backend.set(DATA, {"key": b"value"})
    target = root.parent / "target"
    (root / place).rename(target)
    (root / place).symlink_to(target)
    before = sorted(target.rglob("*"))
    attempts: list[Callable[[], object]] = [
        lambda: backend.set_metadata(ID, "new", b"new"),
        lambda: backend.set(DATA, {"new": b"new"}),
        lambda: backend.delete_metadata(ID, "key"),
        lambda: FSBackend(root).set(b"another", {"new": b"new"}),
    ]
    for attempt in attempts:
        with suppress(ImgfsError):
            attempt()
    assert sorted(target.rglob("*")) == before
    if place.startswith("content"):
        for read_only in (False, True):
            with pytest.raises(StoreError, match=f"{root / place}: (Not a dir|not a dir|a symbolic link)"):
                FSBackend(root, read_only=read_only)


def test_new_folders_last_through_a_crash(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is flushed in the folder that it was made in, the root and those above it too."""
    flushed: list[str] = []

    def fsync(fd: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    real = os.fsync
    monkeypatch.setattr(os, "fsync", fsync)
    FSBackend(root).set(DATA, {"key": b"value"})
    made = [root, root.parent, root.parent.parent, *(path for path in root.rglob("*") if path.is_dir())]
    assert len(made) == 9
    assert {str(path.parent) for path in made} <= set(flushed)


WRITER = """
import itertools, sys
from imgfs.store import FSBackend
backend = FSBackend(sys.argv[1])
print("ready", flush=True)
for number in itertools.count():
    data = b"%d " % number * 20_000
    image_id = backend.set(data, {"number": b"%d" % number, "twice": b"%d" % (2 * number)})
    backend.set_metadata(image_id, "twice", b"%d" % (2 * number) * 3000)
    if number % 3:
        backend.delete(image_id)
"""


def test_killing_a_writer_at_any_instant_leaves_every_config_whole(root: Path) -> None:
    """Each with its values, whole too; what is seen meanwhile is never half-made either."""
    reader = FSBackend(root)
    for attempt in range(12):
        command = [sys.executable, "-c", WRITER, str(root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            end = time.monotonic() + 0.01 + 0.007 * attempt
            while time.monotonic() < end:
                _check_whole(reader, being_written=True)
            process.send_signal(signal.SIGKILL)
        _check_whole(reader, being_written=False)
        assert len(os.listdir(root / "staging")) <= attempt + 1


def _check_whole(backend: FSBackend, *, being_written: bool) -> None:
    for image_id in backend.walk():
        try:
            number = int(backend.get(image_id).split(maxsplit=1)[0])
            assert int(backend.get_metadata(image_id, "number")) == number
            twice = backend.get_metadata(image_id, "twice")
        except NotFound:
            assert being_written  # it was deleted meanwhile
            continue
        assert twice in (b"%d" % (2 * number), b"%d" % (2 * number) * 3000)
