"""Directories of overlayfs as layers, made as Docker makes them, against the kernel's own view of them."""

import os
import socket
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings

from imgfs.blob import Root
from imgfs.digest import ChainID, DiffID
from imgfs.errors import StoreError
from imgfs.layers import TRUSTED, USER, DirectoryLayer, DirectoryPlace, prefix_of
from imgfs.layers import directory_scan as scanning
from imgfs.tree import Tree, overlay_trees
from tests.tools import require_root, require_tool
from tests.tree.stacks import Entry, real_facts, stacks, tree_facts
from tests.tree.unpacking import compared, lower_layers_mounted, mounted, unpacked

ID = DiffID.of(b"")


def layer(folder: Path, name: str, *, is_bottom: bool = False, prefix: str = TRUSTED) -> DirectoryLayer:
    place = DirectoryPlace(Root(folder), name, prefix)
    return DirectoryLayer(ChainID(ID), ID, None if is_bottom else ChainID(ID), lambda: place)


def paths(tree: Tree) -> list[str]:
    return [tree.path(entry).decode() for entry in tree.walk()]


def contents(layers: list[DirectoryLayer], trees: list[Tree]) -> list[bytes]:
    """All that `open_content` of each layer holds."""
    found = []
    for each, tree in zip(layers, trees, strict=True):
        with closing(each.open_content(tree.copies[0])) as blob:
            found.append(blob.pread(blob.size, 0))
    return found


@given(stacks(sparse=(), devices=((5, 1), (0, 0))))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_tree_is_what_the_kernel_shows(stack: list[list[Entry]]) -> None:
    require_root()
    with TemporaryDirectory(dir="/dev/shm") as work:
        folder = Path(work)
        unpacked(stack, folder)
        layers = [layer(folder, str(number), is_bottom=not number) for number in range(len(stack))]
        trees = [each.tree() for each in layers]
        tree = overlay_trees(trees, "image")
        with mounted(stack, folder) as top:
            expected = real_facts(top)
            root = os.stat(top)
        assert compared(tree_facts(tree, contents(layers, trees))) == compared(expected)
        assert (tree.modes[0], tree.mtimes[0]) == (
            root.st_mode,
            os.stat(folder / str(len(stack) - 1)).st_mtime_ns,
        )


def test_names_of_one_file_and_nanoseconds_and_attributes_are_kept(tmp_path: Path) -> None:
    (tmp_path / "l/d").mkdir(parents=True)
    (tmp_path / "l/a").write_bytes(b"content")
    os.link(tmp_path / "l/a", tmp_path / "l/d/b")
    (tmp_path / "l/e").write_bytes(b"")
    (tmp_path / "l/s").symlink_to("/nowhere")
    os.setxattr(tmp_path / "l/a", "user.a", b"1")
    os.utime(tmp_path / "l/a", ns=(0, 1_234_567_891))
    tree = layer(tmp_path, "l", is_bottom=True).tree()
    by_path = {tree.path(entry).decode(): entry for entry in tree.walk()}
    assert list(by_path) == ["a", "d", "d/b", "e", "s"]
    assert tree.inode(by_path["d/b"]) == by_path["a"]
    assert tree.mtimes[by_path["a"]] == 1_234_567_891
    assert tree.xattrs[by_path["a"]] == {b"user.a": b"1"}
    assert tree.target(by_path["s"]) == b"/nowhere"
    assert len(set(tree.records)) == 5, "no two files are in one place"


def test_empty_files_marked_as_whiteouts_are_such_in_marked_directories_alone(tmp_path: Path) -> None:
    """As Linux 6.7 reads them; an ordinary user's overlayfs has attributes of its own."""
    for name in ("marked", "plain"):
        (tmp_path / "l" / name).mkdir(parents=True)
        for file in ("gone", "there"):
            (tmp_path / "l" / name / file).touch()
        os.setxattr(tmp_path / "l" / name / "gone", "user.overlay.whiteout", b"")
    os.setxattr(tmp_path / "l/marked", "user.overlay.opaque", b"x")
    tree = layer(tmp_path, "l", prefix=USER).tree()
    assert paths(tree) == ["marked", "marked/.wh.gone", "marked/there", "plain", "plain/gone", "plain/there"]
    assert tree.xattrs == {}
    os.setxattr(tmp_path / "l/marked", "user.overlay.opaque", b"y")
    assert "marked/.wh..wh..opq" in paths(layer(tmp_path, "l", prefix=USER).tree())


def test_attributes_for_users_are_ordinary_in_a_layer_of_root(tmp_path: Path) -> None:
    (tmp_path / "l/d").mkdir(parents=True)
    os.setxattr(tmp_path / "l/d", "user.overlay.opaque", b"y")
    tree = layer(tmp_path, "l", is_bottom=True).tree()
    assert paths(tree) == ["d"]
    assert tree.xattrs == {1: {b"user.overlay.opaque": b"y"}}


@pytest.mark.parametrize("key", ["redirect", "metacopy"])
def test_what_refers_to_lower_layers_is_an_error(tmp_path: Path, key: str) -> None:
    (tmp_path / "l").mkdir()
    (tmp_path / "l/f").write_bytes(b"f")
    os.setxattr(tmp_path / "l/f", f"user.overlay.{key}", b"/x")
    with pytest.raises(StoreError, match=f"l/f: what it shows lies elsewhere .*user.overlay.{key}"):
        layer(tmp_path, "l", prefix=USER).tree()


def test_without_rights_only_the_bottom_layer_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "l/d").mkdir(parents=True)
    monkeypatch.setattr(scanning, "can_read_trusted", lambda: False)
    with pytest.raises(StoreError, match=r"only root can read .*trusted\.overlay\.opaque"):
        layer(tmp_path, "l").tree()
    assert paths(layer(tmp_path, "l", is_bottom=True).tree()) == ["d"]


def test_rights_to_read_attributes_are_those_of_root() -> None:
    assert scanning.can_read_trusted() == (os.geteuid() == 0)


def test_links_lead_nowhere_and_sockets_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "l").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"s")
    (tmp_path / "l/link").symlink_to(tmp_path / "outside")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "l/socket"))
    assert paths(layer(tmp_path, "l", is_bottom=True).tree()) == ["link"]
    (tmp_path / "dir").symlink_to(tmp_path / "l")
    with pytest.raises(OSError, match="Not a directory"):
        layer(tmp_path, "dir", is_bottom=True).tree()


def test_files_named_like_whiteouts_are_files(tmp_path: Path) -> None:
    require_root()
    with TemporaryDirectory(dir="/dev/shm") as work:
        folder = Path(work)
        lower, upper, top = (folder / name for name in ("0", "1", "top"))
        for path in (lower / "d/in", upper / ".wh.d/in", upper / "d/.wh..wh..opq", top):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if path == top else path.write_text(str(path))
        for name in ("a", "b", "h"):
            (lower / name).write_text(f"lower {name}")
        (upper / ".wh.a").write_text("upper")
        os.link(upper / ".wh.a", upper / ".wh.h")
        os.mknod(upper / "b", stat.S_IFCHR, 0)
        (upper / ".wh.b").symlink_to("target")
        layers = [layer(folder, "0", is_bottom=True), layer(folder, "1")]
        trees = [each.tree() for each in layers]
        ours = tree_facts(overlay_trees(trees, "image"), contents(layers, trees))
        subprocess.run(
            ["mount", "-t", "overlay", "-o", f"ro,lowerdir={upper}:{lower}", "overlay", top], check=True
        )
        try:
            theirs = real_facts(top)
        finally:
            subprocess.run(["umount", top], check=True)
        # what they have in common with other names of their files is not known of them
        assert {path: fact[:-1] for path, fact in compared(ours).items()} == {
            path: fact[:-1] for path, fact in compared(theirs).items()
        }


def test_a_file_named_like_a_whiteout_that_is_there_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    require_root()
    for path in (tmp_path / "l/.wh.d/in", tmp_path / "l/o/.wh..wh..opq"):
        path.parent.mkdir(parents=True)
        path.touch()
    os.mknod(tmp_path / "l/d", stat.S_IFCHR, 0)
    os.setxattr(tmp_path / "l/o", "trusted.overlay.opaque", b"y")
    tree = layer(tmp_path, "l").tree()
    assert sorted(paths(tree)) == [".wh.d", "o", "o/.wh..wh..opq"]
    lower = tmp_path / "0"
    (lower / "o/in").mkdir(parents=True)
    (lower / "d").touch()
    merged = overlay_trees([layer(tmp_path, "0", is_bottom=True).tree(), tree], "image")
    assert paths(merged) == ["o"]
    assert caplog.text.count("it has the name of a whiteout that is there, too") == 3


def test_a_name_too_long_for_a_whiteout_stays_a_device(tmp_path: Path) -> None:
    require_root()
    for folder in ("0", "1"):
        (tmp_path / folder).mkdir()
    name = "n" * 255
    (tmp_path / "0" / name).touch()
    os.mknod(tmp_path / "1" / name, stat.S_IFCHR, 0)
    trees = [layer(tmp_path, "0", is_bottom=True).tree(), layer(tmp_path, "1").tree()]
    assert paths(overlay_trees(trees, "image")) == []
    with lower_layers_mounted([str(tmp_path / "1"), str(tmp_path / "0")], tmp_path / "m") as top:
        assert os.listdir(top) == []


def test_in_a_user_namespace_files_are_marked_as_ordinary_users_mark_them(tmp_path: Path) -> None:
    require_root()
    assert prefix_of(Root(tmp_path)) == TRUSTED
    text = "import sys, imgfs.blob, imgfs.layers as of; print(of.prefix_of(imgfs.blob.Root(sys.argv[1])))"
    command = [
        require_tool("unshare"),
        "--user",
        "--map-root-user",
        sys.executable,
        "-c",
        text,
        str(tmp_path),
    ]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == USER
    os.chown(tmp_path, 4321, 4321)
    assert prefix_of(Root(tmp_path)) == USER
