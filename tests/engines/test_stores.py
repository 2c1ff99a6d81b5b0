"""The stores of real engines, read in place and compared with what the engines themselves say."""

import hashlib
import json
import os
import random
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from imgfs.blob import MemoryBlob
from imgfs.digest import ImageID
from imgfs.layers import BlobLayer, SplitLayer, chain_ids
from imgfs.sources import Source, open_source
from imgfs.sources.union import Union
from imgfs.tar import Member, ScannedTar, scan_blob
from tests.conftest import Imgfs, Mount, eventually
from tests.engines.conftest import Built, with_one_suite
from tests.engines.hurting import BIG_FILE, LONG_NAME, LONG_PATH, NOT_UTF8, STAGES
from tests.indexing import indexing


@contextmanager
def _opened(reference: str, folder: Path) -> Iterator[Source]:
    with indexing(folder) as indexer:
        source = open_source(reference, indexer)
        yield source
        source.close()


def _saved(built: Built, stage: str, folder: Path) -> tuple[bytes, list[bytes]]:
    """Config and layers of an image as the engine itself saves them."""
    path = folder / "saved.tar"
    built.engine.save(f"hurting:{stage}", path)
    with tarfile.open(path) as archive:

        def read(name: str) -> bytes:
            file = archive.extractfile(name)  # follows the links that old archives have for shared layers
            assert file is not None
            return file.read()

        (item,) = json.loads(read("manifest.json"))
        return read(item["Config"]), [read(name) for name in item["Layers"]]


def test_has_every_image_with_its_parent_and_its_names(built: Built, tmp_path: Path) -> None:
    with _opened(built.engine.source, tmp_path) as source:
        assert {image_id.hex for image_id in source.store.map()} == built.engine.images()
        parents = Union([source]).snapshot.parents
        theirs = built.engine.parents()
        assert {child.hex: parent.hex for child, parent in parents.items()} == theirs
        assert len(theirs) >= len(STAGES) - 1
        assert {name: image_id.hex for name, image_id in source.tags.items()} == built.engine.tags()
        assert not source.problems


def test_every_layer_hashes_to_its_diff_id_and_lists_its_members(built: Built, tmp_path: Path) -> None:
    seen: list[Member] = []
    with _opened(built.engine.source, tmp_path) as source:
        for image_id in source.store.map():
            for chain_id in chain_ids(source.store.get(image_id).diff_ids):
                layer = source.layers.get(chain_id)
                with layer.open() as tar:
                    data = tar.pread(1 << 30, 0)
                    assert len(data) == tar.size == tar.known_size == layer.known_size
                    assert "sha256:" + hashlib.sha256(data).hexdigest() == layer.diff_id
                    listed = scan_blob(MemoryBlob(data))
                    members = [replace(member, uname=b"", gname=b"") for member in listed]  # not kept
                    assert isinstance(layer, (BlobLayer, SplitLayer))
                    assert list(layer.members()) == members
                    with ScannedTar(MemoryBlob(data)) as scanned:
                        assert tar.ending_before(len(data)) == scanned.ending_before(len(data)) is not None
                seen += members
                source.layers.release(layer)
    names = {member.name for member in seen}
    assert {NOT_UTF8, LONG_NAME.encode(), LONG_PATH.encode(), b".wh.names", b"remove/.wh.me"} <= names
    assert b"opaque/.wh..wh..opq" in names or "vfs" in built.engine.driver
    assert {member.type for member in seen} == {b"0", b"1", b"2", b"3", b"4", b"5", b"6"}
    assert {member.name for member in seen if member.mode & 0o4000} == {b"bin/setuid", b"made/setuid"}
    assert {member.name for member in seen if member.xattrs} == {b"bin/capable"}


@with_one_suite
def test_rootfs_tar_and_config_are_what_the_engine_saves(built: Built, mount: Mount, tmp_path: Path) -> None:
    with mount(built.engine.source, options="tar=verbatim") as top:
        for stage in STAGES:
            config, layers = _saved(built, stage, tmp_path)
            folder = top / "images" / built.family[stage]
            assert (folder / "config.json").read_bytes() == config
            assert (folder / "rootfs.tar").stat().st_size == sum(map(len, layers))
            assert (folder / "rootfs.tar").read_bytes() == b"".join(layers)


@with_one_suite
def test_tar_tools_read_every_layer_of_the_joined_tar(built: Built, mount: Mount, tmp_path: Path) -> None:
    _, layers = _saved(built, "top", tmp_path)
    names = [member.name for layer in layers for member in scan_blob(MemoryBlob(layer))]
    with mount(built.engine.source) as top:
        path = top / "images" / built.family["top"] / "rootfs.tar"
        listed = subprocess.run(
            ["tar", "--quoting-style=literal", "--show-transformed-names", "-tf", path],
            capture_output=True,
            check=True,
        )
        assert listed.stderr == b""
        assert sorted(listed.stdout.split(b"\n")) == sorted(b"\n".join([*names, b""]).split(b"\n"))


@with_one_suite
def test_any_range_of_any_size_is_right(built: Built, tmp_path: Path) -> None:
    with _opened(built.engine.source, tmp_path) as source:
        image_id = ImageID.from_hex(built.family["top"])
        with source.store.get_tar_seek_stream(image_id) as stream:
            whole = stream.read()
        rng = random.Random(7)
        with source.store.get_tar_seek_stream(image_id) as stream:
            for size in (1, 511, 512, 4096, 70_000, 1 << 20, 9 << 20):
                for _ in range(20):
                    offset = rng.randrange(len(whole) + 10)
                    stream.seek(offset)
                    assert stream.read(size) == whole[offset : offset + size]


@with_one_suite
def test_nothing_is_written_to_the_store(built: Built, imgfs: Imgfs, mount: Mount) -> None:
    before = _listing(built.engine.root)
    with mount(built.engine.source) as top:
        for name in os.listdir(top / "images"):
            for file in ("rootfs.tar", "config.json", "parent"):
                (top / "images" / name / file).read_bytes()
    imgfs("ls", built.engine.source)
    imgfs("verify", built.engine.source)
    assert _listing(built.engine.root) == before


def _listing(root: Path) -> dict[str, tuple[object, ...]]:
    """All there is to see of every file but when it was last read."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, _, names in os.walk(os.fsencode(root)):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            status = os.lstat(path)
            times = status.st_mtime_ns, status.st_ctime_ns
            found[os.fsdecode(path)] = (
                status.st_ino,
                status.st_mode,
                status.st_size,
                status.st_nlink,
                *times,
            )
    return found


def test_what_the_engine_builds_and_removes_shows_within_a_second(
    built: Built, mount: Mount, tmp_path: Path
) -> None:
    with mount(built.engine.source) as top:
        folder = top / "images"
        before = set(os.listdir(folder))
        text = f"FROM {_local(built)}hurting:base\nLABEL built=live\n"
        (tmp_path / "context").mkdir()
        image = built.engine.build(tmp_path / "context", text, "live:1")
        assert eventually(lambda: image in os.listdir(folder))
        parent = f"sha256:{built.family['base']}\n"
        assert eventually(lambda: (folder / image / "parent").read_text() == parent)
        assert image in os.listdir(folder / built.family["base"] / "children")
        archive = tmp_path / "live.tar"
        built.engine.save("live:1", archive)
        built.engine.command("rmi", "live:1")
        assert eventually(lambda: set(os.listdir(folder)) == before)
        built.engine.load(archive)
        assert eventually(lambda: image in os.listdir(folder))
        assert (folder / image / "rootfs.tar").read_bytes()
        built.engine.command("rmi", "live:1")
        assert eventually(lambda: set(os.listdir(folder)) == before)


@with_one_suite
def test_an_image_removed_under_a_reader_ends_in_eio_or_goes_on(
    built: Built, mount: Mount, tmp_path: Path
) -> None:
    (tmp_path / "context").mkdir()
    for number in range(30):
        (tmp_path / "context" / f"file-{number}").write_bytes(os.urandom(300_000))
    image = built.engine.build(tmp_path / "context", "FROM scratch\nCOPY file-* /\n", "gone:1")
    with mount(built.engine.source, options="tar=verbatim") as top:
        path = top / "images" / image / "rootfs.tar"
        whole = path.read_bytes()
    with mount(built.engine.source, options="tar=verbatim") as top:
        path = top / "images" / image / "rootfs.tar"
        with path.open("rb", buffering=0) as file:
            read = file.read(100_000)
            built.engine.command("rmi", "gone:1")
            assert eventually(lambda: not path.exists())
            try:
                while chunk := file.read(1 << 20):
                    read += chunk
            except OSError as error:
                assert "Input/output error" in str(error)
            else:
                assert len(read) == len(whole)
            assert whole.startswith(read)


def _local(built: Built) -> str:
    return "" if built.engine.source.startswith("docker:") else "localhost/"


@with_one_suite
@pytest.mark.parametrize(
    "change", ["byte", "byte of a large file", "longer", "gone", "link", "directory link", "fifo"]
)
def test_a_file_that_changed_is_eio_and_named_in_the_log(
    store_copy: tuple[Built, str, Path], mount: Mount, tmp_path: Path, change: str
) -> None:
    built, source, root = store_copy
    name = BIG_FILE if "large" in change else "plain/0007"
    stored = [path for path in root.rglob(name) if path.is_file()]
    assert stored
    for path in stored:
        _change(path, change, tmp_path)
    with mount(source, options="tar=verbatim") as top:
        base = top / "images" / built.family["base"] / "rootfs.tar"
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output error"):
                base.read_bytes()
        with base.open("rb", buffering=0) as file:
            file.seek(-4096, os.SEEK_END)
            assert file.read(4096).endswith(bytes(1024))
        assert (base.parent / "config.json").read_bytes()
    assert name.partition("7")[0] in (tmp_path / "log").read_text()


def _change(path: Path, change: str, folder: Path) -> None:
    """Damage a file as nobody should, and set its times back."""
    status = path.stat()
    content = path.read_bytes()
    match change:
        case "byte" | "byte of a large file":
            with path.open("r+b") as file:
                file.seek(len(content) // 2)
                file.write(bytes([content[len(content) // 2] ^ 1]))
        case "longer":
            with path.open("ab") as file:
                file.write(b"\0")
        case "gone":
            path.unlink()
        case "link":
            secret = folder / "secret"
            secret.write_bytes(content)
            path.unlink()
            path.symlink_to(secret)
        case "directory link":
            outside = Path(tempfile.mkdtemp(dir=folder)) / "outside"
            path.parent.rename(outside)
            path.parent.symlink_to(outside)
        case "fifo":
            path.unlink()
            os.mkfifo(path)
    if path.exists() and stat.S_ISREG(path.lstat().st_mode):
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
