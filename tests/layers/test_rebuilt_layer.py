"""Layers whose tars are made of their files again, against tars that Go's archive/tar writes of these."""

import os
import struct
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.blob import Root
from imgfs.cache import Cache
from imgfs.digest import ChainID, DiffID
from imgfs.errors import StoreError
from imgfs.layers import DirectoryLayer, DirectoryPlace, RebuiltLayer
from imgfs.layers.index_store import IndexStore
from imgfs.tar.go_writer import WRITERS, Writer
from tests.tar.go_programs import compiled
from tests.tools import require_root

_CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("go_writer.go", tmp_path_factory.mktemp("go"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder whose `l` has files of every kind with names of every length."""
    require_root()
    top = tmp_path / "l"
    (top / "d/empty").mkdir(parents=True)
    (top / "a").write_bytes(b"content")
    (top / "d-before-d").write_bytes(b"x" * 512)
    os.link(top / "a", top / "d/another name")
    (top / "d/link").symlink_to("../" * 60)
    long = top / ("d" * 60) / ("e" * 60)
    long.mkdir(parents=True)
    for name in (
        "f",
        "g" * 100,
        "g" * 101,
        "é",
        "\udcff",
        *(f"{'h' * size}/{'i' * 50}" for size in (33, 34)),
    ):
        (long / name).parent.mkdir(exist_ok=True)
        (long / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    os.mkfifo(top / "fifo")
    os.mknod(top / "device", 0o020600, os.makedev(5, 300))
    os.chown(top / "d", 1000, 3_000_000)
    os.chown(top / "a", 8, 42)  # mail, shadow
    (top / "a").chmod(0o4755)
    os.setxattr(top / "d-before-d", "security.capability", _CAPABILITY)
    for path in [top, *top.rglob("*")]:
        os.utime(path, ns=(0, 1_600_000_000_000_000_000), follow_symlinks=False)
    return tmp_path


def written(program: Path, top: Path, writer: Writer) -> bytes:
    names = [
        ",".join(f"{number}={name.decode()}" for number, name in of.items())
        for of in (writer.users, writer.groups)
    ]
    command = [str(program), str(top), str(writer.has_type_bits).lower(), *names]
    return subprocess.run(command, check=True, capture_output=True).stdout


def layer(root: Path, diff_id: DiffID, cache: Cache | None = None) -> RebuiltLayer:
    place = DirectoryPlace(Root(root), "l")
    files = DirectoryLayer(ChainID(diff_id), diff_id, None, lambda: place)
    return RebuiltLayer(files, IndexStore(cache or Cache(str(root / "cache"), 1 << 20)))


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_tars_of_engines_are_made_again(program: Path, root: Path, writer: Writer) -> None:
    tar = written(program, root / "l", writer)
    made = layer(root, DiffID.of(tar))
    assert (made.has_tar, made.may_have_tar, made.known_size, made.look_for_size()) == (
        False,
        True,
        None,
        None,
    )
    with closing(made.open()) as blob:
        assert blob.pread(blob.size, 0) == tar
        assert blob.ending_before(len(tar)) == len(tar) - 1024
    assert made.known_size == len(tar)
    assert layer(root, DiffID.of(tar)).look_for_size() == len(tar)


def test_other_bytes_are_never_given(root: Path) -> None:
    made = layer(root, DiffID.of(b"another"))
    for _ in range(2):
        with pytest.raises(
            StoreError, match="there is no tar of it: it is kept as a directory, and the tar that is made"
        ):
            made.open()
        assert not made.may_have_tar


def test_what_came_of_it_is_remembered_for_these_files(
    program: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar = written(program, root / "l", WRITERS[1])
    right, wrong = DiffID.of(tar), DiffID.of(b"another")
    layer(root, right).open().close()
    with pytest.raises(StoreError):
        layer(root, wrong).open()
    hashed = list[str]()

    def is_right(self: RebuiltLayer, plan: object, copy: str) -> bool:
        hashed.append(copy)
        return False

    monkeypatch.setattr(RebuiltLayer, "_is_right", is_right)
    with closing(layer(root, right).open()) as blob:
        assert blob.pread(blob.size, 0) == tar
    with pytest.raises(StoreError):
        layer(root, wrong).open()
    assert not hashed
    (root / "l/a").write_bytes(b"changed")
    with pytest.raises(StoreError):
        layer(root, right).open()
    assert len(hashed) == len(WRITERS)


def test_a_layer_with_whiteouts_is_not_tried(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mknod(root / "l/gone", 0o020600, 0)
    monkeypatch.delattr(RebuiltLayer, "_is_right")
    with pytest.raises(StoreError, match=r"and the times of its whiteouts are not known$"):
        layer(root, DiffID.of(b"any")).open()


def test_files_are_read_as_they_lie_there(root: Path) -> None:
    made = layer(root, DiffID.of(b"any"))
    tree = made.tree()
    entry = tree.lookup(0, b"a")
    assert entry is not None
    with closing(made.open_content(tree.copies[0])) as blob:
        assert blob.pread(7, tree.records[entry] + tree.headers[entry]) == b"content"
