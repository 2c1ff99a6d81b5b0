"""Images whose layers have no tars, as those of a source that keeps directories: all but tars is shown."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgfs.errors import StoreError
from imgfs.rootfs import RootFS, TreeCache, differences
from imgfs.sources.union import Union
from imgfs.view import Directory, RootDirectory, ViewOptions
from imgfs.view.tars import open_rootfs_tar
from tests.erofs.images import mounted_file
from tests.kernel import kernel_has_erofs
from tests.rootfs.serving import BOTTOM, TreesSource
from tests.tree.stacks import check_same, real_facts

NO_TAR = "is kept as a directory, there is no tar of it"


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two layers."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "etc").mkdir(parents=True)
    (lower / "etc/hosts").write_text("localhost\n")
    (lower / "etc/gone").write_text("gone")
    (lower / "big").write_bytes(os.urandom(300_000))
    (upper / "etc").mkdir(parents=True)
    (upper / "etc/.wh.gone").touch()
    (upper / "etc/link").symlink_to("/etc/hosts")
    return [lower, upper]


@pytest.fixture
def source(folders: list[Path]) -> Iterator[TreesSource]:
    source = TreesSource(folders)
    yield source
    source.store.close()


@pytest.fixture(params=["", "kernel"])
def top(tmp_path: Path, folders: list[Path], request: pytest.FixtureRequest) -> Iterator[Path]:
    """The image's directory in a mount, with these options."""
    top = tmp_path / "mnt"
    top.mkdir()
    command = [sys.executable, "-m", "tests.rootfs.serving", request.param, str(top), *map(str, folders)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield top / "tags/trees"
            assert (top / "tags/trees/rootfs").is_mount() == (
                request.param == "kernel" and kernel_has_erofs()
            )
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")


def test_the_mount_shows_all_but_tars(top: Path, folders: list[Path], tmp_path: Path) -> None:
    rootfs = top / "rootfs"
    assert sorted(os.listdir(rootfs / "etc")) == ["hosts", "link"]
    assert (rootfs / "etc/hosts").read_text() == "localhost\n"
    assert (rootfs / "from-tar").read_text() == "kept in a tar\n"
    assert (rootfs / "big").read_bytes() == (folders[0] / "big").read_bytes()
    assert "rootfs.tar" not in os.listdir(top)
    with pytest.raises(FileNotFoundError):
        (top / "rootfs.tar").stat()
    names = sorted(os.listdir(top / "layers"))
    assert [(name[:3], name[15:]) for name in names] == [
        ("00-", ""),
        ("00-", ".tar"),
        ("01-", ""),
        ("02-", ""),
    ]
    assert (top / "layers" / names[1]).read_bytes() == BOTTOM
    assert (top / "layers" / names[2] / "etc/gone").read_text() == "gone"
    assert (top / "layers" / names[3] / "etc/.wh.gone").exists()
    assert len((top / "history").read_text().splitlines()) == 4
    with mounted_file(top / "rootfs.erofs", tmp_path / "erofs") as erofs:
        check_same(real_facts(erofs), real_facts(rootfs))
    with tarfile.open(fileobj=io.BytesIO((top / "flat.tar").read_bytes())) as flat:
        assert sorted(flat.getnames()) == ["big", "etc", "etc/hosts", "etc/link", "from-tar"]
        file = flat.extractfile("big")
        assert file is not None
        assert file.read() == (folders[0] / "big").read_bytes()


def test_paths_are_found_traced_and_compared(source: TreesSource, folders: list[Path]) -> None:
    layers = source.store.layers(source.image_id)
    with (
        RootFS.of(layers, TreeCache(None), "image") as root,
        RootFS.of(layers, TreeCache(None), "same") as same,
    ):
        assert list(root.find("host*")) == ["/etc/hosts"]
        assert [(event.layer, event.gone) for event in root.which("/etc/gone")] == [(1, False), (2, True)]
        with root.open("/etc/link") as file:
            assert file.read() == b"localhost\n"
        assert list(differences(root, same)) == []
    opened = [name for layer in source.made for name in getattr(layer, "opened", ())]
    assert set(opened) == {"hosts"}, "what is in the same place is not read to be compared"


def test_a_tar_is_an_error_that_names_the_layer(source: TreesSource) -> None:
    """It is not listed; only a program that had it open before the image came to have no tar reads it."""
    with open_rootfs_tar(source.store, source.image_id, verbatim=True) as blob:
        assert blob.pread(len(BOTTOM), 0) == BOTTOM
        with pytest.raises(StoreError, match=f"^layer sha256:[0-9a-f]+ {NO_TAR}$"):
            blob.pread(1, len(BOTTOM))
    with pytest.raises(StoreError, match=NO_TAR):
        source.store.get_tar_seek_stream(source.image_id)


def test_a_tar_is_there_where_another_source_has_it(source: TreesSource, folders: list[Path]) -> None:
    """Whichever source the image is read from."""
    other = TreesSource(folders)
    for layer in other.made:
        object.__setattr__(layer, "may_have_tar", True)
    root = RootDirectory(Union([source, other]), ViewOptions())
    images = root.lookup(b"images")
    assert isinstance(images, Directory)
    image = images.lookup(source.image_id.hex.encode())
    assert isinstance(image, Directory)
    assert image.lookup(b"rootfs.tar") is not None
    root.close()
    other.store.close()


def test_what_another_copy_of_a_layer_has_in_its_place_is_not_read(source: TreesSource) -> None:
    with pytest.raises(StoreError, match="no such copy"):
        source.store.layers(source.image_id).open_content(1, None)
