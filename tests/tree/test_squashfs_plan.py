"""SquashFS images of merged trees, against the kernel, which mounts them, and unsquashfs."""

import os
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from imgfs.blob import MemoryBlob
from imgfs.errors import InvalidImage
from imgfs.tree import AssembledBlob, SquashfsPlan, Tree
from tests.erofs.images import mounted_image, tar_of_every_kind
from tests.tar.archives import check_sparse_file, header, long_name, padded, sparse_file
from tests.tools import require_tool
from tests.tree.stacks import Entry, Facts, check_same, merged, real_facts, stacks, tar, tree_facts

LAST = (1 << 32) - 1  # second that the format has


def kept(facts: Facts) -> Facts:
    """What the format keeps of a tree."""
    return {
        path: (*of[:4], min(max((of[4] or 0) // 10**9, 0), LAST) * 10**9, of[5], without_lists(of[6]), of[7])
        for path, of in facts.items()
    }


def without_lists(xattrs: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: value for name, value in xattrs.items() if not name.startswith(b"system.")}


def written(tree: Tree, layers: Sequence[bytes], work: Path) -> Path:
    with AssembledBlob(SquashfsPlan(tree), lambda number: MemoryBlob(layers[number])) as blob:
        (work / "image").write_bytes(blob.pread(blob.size, 0))
    return work / "image"


def check(tree: Tree, layers: Sequence[bytes], work: Path) -> None:
    """Compare the image of a tree with the tree."""
    image = written(tree, layers, work)
    with mounted_image(image, work / "top", "squashfs") as top:
        check_same(real_facts(top), kept(tree_facts(tree, layers)))
        status = top.stat()
        assert (status.st_mode, status.st_uid, status.st_nlink) == (
            tree.modes[0],
            tree.uids[0],
            tree.links[0],
        )
    command = [require_tool("unsquashfs"), "-n", "-d", str(work / "unpacked"), str(image)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check_same(real_facts(work / "unpacked"), kept(tree_facts(tree, layers)))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stacks())
def test_a_random_tree_is_what_the_kernel_shows(disk: Path, stack: list[list[Entry]]) -> None:
    # where no file has attributes, the kernel cannot list them either
    layers = [tar([*layer, Entry("z", tarfile.REGTYPE, xattr="z")]) for layer in stack]
    with tempfile.TemporaryDirectory(dir=disk) as name:
        check(merged(layers), layers, Path(name))


def test_files_of_every_kind_are_what_they_are_in_the_layer(disk: Path) -> None:
    work = disk / "every-kind"
    work.mkdir()
    layer = tar_of_every_kind(work / "files", 2)
    tree = merged([layer])
    assert tree.sparse and tree.devices and tree.same and tree.xattrs
    check(tree, [layer], work)


def test_many_and_long_names_are_found(disk: Path) -> None:
    names = [b"many/%05d" % number for number in range(40_000)]
    names += [b"long/" + b"%03d" % number + b"n" * 252 for number in range(300)]
    linked = header(b"first") + header(b"many/link", kind=b"1", linkname=b"first")
    layer = b"".join(long_name(b"L", name) + header() for name in names) + linked + bytes(1024)
    work = disk / "names"
    work.mkdir()
    tree = merged([layer])
    with mounted_image(written(tree, [layer], work), work / "top", "squashfs") as top:
        for name in ("many", "long"):
            entry = tree.lookup(0, name.encode())
            assert entry is not None
            folder, expected = os.fsencode(top / name), tree.names(tree.children(entry))
            assert sorted(os.listdir(folder)) == expected
            assert all(os.path.lexists(os.path.join(folder, of)) for of in expected[::97])
            assert not os.path.lexists(top / name / "none")
        with os.scandir(top / "many") as found:
            assert {of.name: of.inode() for of in found}["link"] == (top / "first").stat().st_ino


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (1 << 20, [(4096, 8192), (1 << 18, 1 << 17)]),
        ((1 << 20) + 5, [(1, 7), (1 << 19, 3), ((1 << 20) + 4, 1)]),
        (1 << 33, [(1 << 32, 5)]),
        (1 << 20, [(0, 0)]),
    ],
)
def test_a_sparse_file_has_its_data_and_its_holes(
    disk: Path, size: int, parts: list[tuple[int, int]]
) -> None:
    layer = header(b"before", size=3) + padded(b"abc") + sparse_file("file", size, parts) + bytes(1024)
    work = Path(tempfile.mkdtemp(dir=disk))
    image = written(merged([layer]), [layer], work)
    with mounted_image(image, work / "top", "squashfs") as top:
        check_sparse_file(top / "file", size, parts)
        assert (top / "file").stat().st_blocks * 512 <= 1 << 19


def test_what_the_format_has_no_room_for_is_an_error() -> None:
    with pytest.raises(InvalidImage, match="too large together"):
        SquashfsPlan(merged([sparse_file("file", 1 << 50, [(0, 1)]) + bytes(1024)]))
    tree = merged([b"".join(header(b"%05d" % number) for number in range(1 << 15)) + bytes(1024)])
    for entry in range(1 << 15):
        tree.uids[entry], tree.gids[entry] = 2 * entry + 1, 2 * entry + 2
    with pytest.raises(InvalidImage, match="more than 65535 owners"):
        SquashfsPlan(tree)


def test_the_same_tree_is_the_same_image(tmp_path: Path) -> None:
    layers = [tar([Entry("a/b", tarfile.REGTYPE, "b", xattr="x"), Entry("l", tarfile.SYMTYPE, "/a")])]
    tree = merged(layers)
    first = written(tree, layers, tmp_path).read_bytes()
    assert written(tree, layers, tmp_path).read_bytes() == first
    assert len(first) % 4096 == 0
    command = [require_tool("unsquashfs"), "-lls", str(tmp_path / "image")]
    assert (
        "squashfs-root/l -> /a" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )
