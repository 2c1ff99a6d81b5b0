"""`containers/`: a directory for each, links by name, and trees of one moment each."""

import errno
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from imgfs.sources.union import Union
from imgfs.view import Directory, File, RootDirectory, Symlink, container_trees
from tests.containers import docker_container, state, write_record
from tests.images import TestImage
from tests.sources.containerd.test_containers import Made, container
from tests.splitting import docker_root
from tests.tools import require_root
from tests.view.conftest import View, content, find


@pytest.fixture
def root(tmp_path: Path, images: list[TestImage]) -> Path:
    require_root()
    return docker_root(tmp_path / "root", images)


def _union(top: RootDirectory) -> Union:
    return top._union


def _top(top: RootDirectory, path: str) -> Directory:
    """The directory at the top of a tree, loaded."""
    node = find(top, path)
    assert node.table is not None
    node.table.load()
    return node.table.top()


def test_a_source_without_containers_has_no_directory_for_them(root: Path, view: View) -> None:
    top = view(f"docker:{root}")
    assert top.lookup(b"containers") is None
    assert b"containers" not in [name for name, _ in top.entries()]


def test_a_container_has_its_files_its_record_its_log_and_its_state(
    root: Path, images: list[TestImage], view: View
) -> None:
    container_id, own = docker_container(root, images[0])
    (own / "mine").write_text("mine")
    top = view(f"docker:{root}")
    place = f"containers/{container_id}"
    assert [name for name, _ in _listing(top, place)] == [
        b"rootfs",
        b"upper",
        b"diff.tar",
        b"config.json",
        b"image",
        b"log",
        b"state",
    ]
    assert content(top, f"{place}/state") == b"exited\n"
    assert content(top, f"{place}/log") == b'{"log":"hello\\n"}\n'
    record = root / "containers" / container_id / "config.v2.json"
    assert content(top, f"{place}/config.json") == record.read_bytes()
    image = find(top, f"{place}/image")
    assert isinstance(image, Symlink)
    assert image.target == b"../../images/" + images[0].id[7:].encode()
    assert [name for name, _ in _top(top, f"{place}/upper").entries()] == [b"mine"]
    names = {name for name, _ in _top(top, f"{place}/rootfs").entries()}
    assert {b"mine", b".dockerenv"} < names
    assert content(top, f"{place}/rootfs/mine") == b"mine"


def _listing(top: RootDirectory, path: str) -> list[tuple[bytes, object]]:
    node = find(top, path)
    assert isinstance(node, Directory)
    return list(node.entries())


def test_names_and_prefixes_lead_to_it(root: Path, images: list[TestImage], view: View) -> None:
    ids = [docker_container(root, images[0], number)[0] for number in (1, 2)]
    top = view(f"docker:{root}")
    assert [name for name, _ in _listing(top, "containers")] == [b"by-name", *map(str.encode, ids)]
    assert [name for name, _ in _listing(top, "containers/by-name")] == [b"name1", b"name2"]
    for name, target in (("by-name/name2", f"../{ids[1]}"), ("name1", ids[0]), ("22", ids[1])):
        link = find(top, f"containers/{name}")
        assert isinstance(link, Symlink)
        assert link.target == target.encode()
    containers = find(top, "containers")
    assert isinstance(containers, Directory)
    assert containers.lookup(b"3") is None
    assert containers.lookup(b"") is None


def test_trees_of_one_that_runs_are_looked_at_again(
    root: Path, images: list[TestImage], view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    container_id, own = docker_container(root, images[0], State=state("running"))
    top = view(f"docker:{root}")
    path = f"containers/{container_id}/upper"
    first = _top(top, path)
    (own / "new").write_text("new")
    assert _top(top, path).table is first.table
    monkeypatch.setattr(container_trees, "_SECONDS", 0.0)
    later = _top(top, path)
    assert later.table is not first.table
    assert [name for name, _ in later.entries()] == [b"new"]
    assert first.lookup(b"new") is None
    _top(top, path)
    assert first.table is not None
    assert first.table.node(0) is None
    with pytest.raises(OSError) as error:
        first.table.load()
    assert error.value.errno == errno.ESTALE


def test_trees_of_one_that_does_not_run_are_looked_at_again_when_its_record_changes(
    root: Path, images: list[TestImage], view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_trees, "_SECONDS", 0.0)
    container_id, own = docker_container(root, images[0])
    top = view(f"docker:{root}")
    first = _top(top, f"containers/{container_id}/upper")
    assert _top(top, f"containers/{container_id}/upper").table is first.table
    (own / "new").write_text("new")
    write_record(root, container_id, images[0], Name="/other")
    assert _union(top).refresh()
    later = _top(top, f"containers/{container_id}/upper")
    assert [name for name, _ in later.entries()] == [b"new"]


def test_its_own_layer_is_a_tar_that_can_be_read_while_files_change(
    root: Path, images: list[TestImage], view: View, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    container_id, own = docker_container(root, images[0], State=state("running"))
    for name in ("grows", "shrinks", "goes", "is-replaced"):
        (own / name).write_text(name)
    (own / "dir").mkdir()
    os.mknod(own / "dir/gone", 0o020000, os.makedev(0, 0))
    (own / "emptied").mkdir()
    os.setxattr(own / "emptied", "trusted.overlay.opaque", b"y")
    os.link(own / "grows", own / "link")
    node = find(view(f"docker:{root}"), f"containers/{container_id}/diff.tar")
    assert isinstance(node, File)
    with node.open() as blob:
        first = tmp_path / "first.tar"
        first.write_bytes(blob.pread(blob.size, 0))
        with (own / "grows").open("a") as file:
            file.write(" and grows")
        (own / "shrinks").write_text("s")
        (own / "goes").unlink()
        (own / "new").write_text("other")
        (own / "new").rename(own / "is-replaced")
        second = tmp_path / "second.tar"
        second.write_bytes(b"".join(blob.pread(1000, offset) for offset in range(0, blob.size, 1000)))
        assert node.known_size == blob.size == second.stat().st_size
    for path in (first, second):
        listed = subprocess.run(["tar", "tf", path], capture_output=True, check=True)
        assert listed.stderr == b""
        assert listed.stdout.decode().split() == [
            "goes",
            "grows",
            "link",
            "is-replaced",
            "shrinks",
            "emptied/",
            "emptied/.wh..wh..opq",
            "dir/",
            "dir/.wh.gone",
        ]
    with tarfile.open(second) as tar:
        content = {each.name: (tar.extractfile(each) or io.BytesIO()).read() for each in tar if each.isreg()}
        assert tar.getmember("link").linkname == "grows"
    assert content["grows"] == b"grows"
    assert content["shrinks"] == b"s".ljust(7, b"\0")
    assert content["goes"] == bytes(4)
    assert content["is-replaced"] == b"other".ljust(11, b"\0")
    assert sorted(message.partition(": ")[2].partition(";")[0] for message in caplog.messages) == [
        "file 'goes' is gone",
        "file 'is-replaced' has changed since its directory was read",
        "file 'shrinks' has changed since its directory was read",
    ]
    assert {message.partition(": ")[0] for message in caplog.messages} == {f"layer {own}"}


def test_what_is_gone_is_reported(root: Path, images: list[TestImage], view: View) -> None:
    ids = [docker_container(root, images[0], number)[0] for number in (1, 2)]
    top = view(f"docker:{root}")
    _top(top, f"containers/{ids[0]}/rootfs")
    shutil.rmtree(root / "containers" / ids[0])
    assert _union(top).refresh()
    assert top.vanished() == [("/containers", ids[0].encode())]
    assert [name for name, _ in _listing(top, "containers/by-name")] == [b"name2"]


def test_one_that_is_called_as_the_directory_of_names_is_listed_once(tmp_path: Path, view: View) -> None:
    """A client of containerd may give any ID."""
    made = Made(tmp_path / "containerd")
    made.record({b"by-name": container(), b"one": container(snapshotKey=b"its key-init")})
    top = view(f"containerd:{made.path}")
    assert [name for name, _ in _listing(top, "containers")] == [b"by-name", b"one"]
    assert isinstance(find(top, "containers/by-name/called"), Symlink)
