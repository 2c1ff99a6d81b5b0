"""Layers that are kept as EROFS images, made as containerd makes them, against the kernel's own view of them."""

import tarfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings

from imgfs.blob import Root
from imgfs.digest import ChainID, DiffID
from imgfs.errors import Corrupt, StoreError
from imgfs.layers import DirectoryLayer, ErofsPlace
from imgfs.tree import overlay_trees
from tests.erofs import built
from tests.erofs.images import make_image, make_image_of_tar, mounted_image
from tests.tools import require_root
from tests.tree.stacks import EXAMPLE, Entry, Facts, check_same, merged, real_facts, stacks, tar, tree_facts
from tests.tree.unpacking import compared, lower_layers_mounted, unpacked

ID = DiffID.of(b"")
FILE, DIRECTORY = tarfile.REGTYPE, tarfile.DIRTYPE


def layer(folder: Path, name: str = "layer.erofs") -> DirectoryLayer:
    place = ErofsPlace(Root(folder), name)
    return DirectoryLayer(ChainID(ID), ID, None, lambda: place)


def read_facts(layers: Sequence[DirectoryLayer]) -> Facts:
    """What the overlay of some layers holds."""
    trees = [each.tree() for each in layers]
    contents = []
    for each, tree in zip(layers, trees, strict=True):
        with closing(each.open_content(tree.copies[0])) as blob:
            contents.append(blob.pread(blob.size, 0))
    return tree_facts(overlay_trees(trees, "image"), contents)


def kernels_facts(images: Sequence[Path], work: Path) -> Facts:
    """What the kernel's overlay of some images shows."""
    with ExitStack() as mounts:
        tops = [
            str(mounts.enter_context(mounted_image(image, work / f"top{number}")))
            for number, image in enumerate(images)
        ]
        top = mounts.enter_context(lower_layers_mounted(tops[::-1], work / "work"))
        return real_facts(top)


@given(stacks(sparse=(), devices=((5, 1), (0, 0))))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_was_unpacked_is_what_the_kernel_shows(stack: list[list[Entry]]) -> None:
    require_root()
    with TemporaryDirectory(dir="/dev/shm") as work:
        folder = Path(work)
        unpacked(stack, folder)
        images = [
            make_image(folder / f"{number}.erofs", folder / f"{number}", ["-Enoinline_data"])
            for number in range(len(stack))
        ]
        found = read_facts([layer(folder, image.name) for image in images])
        check_same(compared(found), compared(kernels_facts(images, folder)))


@pytest.mark.parametrize("options", ["--tar=f -Enoinline_data", "--tar=i"])
def test_what_was_made_of_tars_is_what_these_hold(options: str, tmp_path: Path) -> None:
    require_root()
    tars = [tar(entries) for entries in EXAMPLE]
    images = [
        make_image_of_tar(tmp_path / f"{number}", data, options.split()) for number, data in enumerate(tars)
    ]
    found = read_facts([layer(tmp_path, image.name) for image in images])
    check_same(found, tree_facts(merged(tars), tars))
    check_same(compared(found), compared(kernels_facts(images, tmp_path)))


def test_a_single_layer_has_whiteouts_by_their_names(tmp_path: Path) -> None:
    make_image_of_tar(tmp_path / "layer.erofs", tar(EXAMPLE[1]), ["--tar=f"])
    tree = layer(tmp_path).tree()
    assert [tree.path(entry) for entry in tree.walk()] == [
        b"d",
        b"d/.wh.gone",
        b"empty",
        b"o",
        b"o/.wh..wh..opq",
        b"o/new",
    ]


def test_no_two_files_are_in_one_place(tmp_path: Path) -> None:
    entries = [Entry(name, FILE, content) for name, content in (("a", ""), ("b", ""), ("c", "x"), ("d", ""))]
    make_image_of_tar(tmp_path / "layer.erofs", tar(entries), ["--tar=f"])
    tree = layer(tmp_path).tree()
    assert len(set(tree.records)) == len(tree) == 5


def content(of: DirectoryLayer, copy: str, place: int) -> bytes:
    with closing(of.open_content(copy)) as blob:
        return blob.pread(4, place)


def test_content_is_found_by_another_object_and_not_in_another_image(tmp_path: Path) -> None:
    path = tmp_path / "layer.erofs"
    path.write_bytes(built.sound())
    first = layer(tmp_path)
    tree = first.tree()
    entry = tree.lookup(0, b"f")
    assert entry is not None
    copy, place = tree.copies[0], tree.records[entry] + tree.headers[entry] + built.BLOCK
    assert content(first, copy, place) == content(layer(tmp_path), copy, place) == b"tail"
    path.write_bytes(built.image({0: built.inode(0o40755, built.directory([]))}))
    with pytest.raises(StoreError, match=r"^layer .*: .*/layer\.erofs has changed since it was read$"):
        content(first, copy, place)
    with pytest.raises(StoreError, match="not there any more"):
        content(layer(tmp_path), copy, place)


def test_holes_are_kept_as_holes(tmp_path: Path) -> None:
    (tmp_path / "layer.erofs").write_bytes(built.sound())
    tree = layer(tmp_path).tree()
    directory = tree.lookup(0, b"d")
    assert directory is not None
    entry = tree.lookup(directory, b"c")
    assert entry is not None
    assert (tree.sizes[entry], tree.sparse[entry]) == (1400, [(0, 512), (1024, 376)])


def test_damage_names_image_and_file(tmp_path: Path) -> None:
    compressed = built.inode(0o100644, layout=built.COMPRESSED, size=5)
    root = built.inode(0o40755, built.directory([(b"f", 8)]))
    (tmp_path / "layer.erofs").write_bytes(built.image({0: root, 8: compressed}))
    with pytest.raises(
        Corrupt, match=rf"^{tmp_path}/layer\.erofs: 'f': it is compressed, which imgfs does not read$"
    ):
        layer(tmp_path).tree()
