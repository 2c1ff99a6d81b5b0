"""Root file systems, layers and names in the mounted tree."""

import ctypes
import hashlib
import io
import os
import stat
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount, eventually
from tests.erofs.images import mounted_file
from tests.images import TestImage, docker_archive, oci_layout
from tests.tools import require_tool
from tests.tree.stacks import Entry, layer_tree, merged, real_facts, tar, tree_facts

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE

BELOW = [
    Entry("bin", DIRECTORY, mode=0o755),
    Entry("bin/tool", FILE, "a tool\n", mode=0o4755, xattr="value"),
    Entry("bin/again", HARDLINK, "bin/tool", mode=0o4755),
    Entry("bin/link", SYMLINK, "tool"),
    Entry("dev", DIRECTORY, mode=0o755),
    Entry("dev/console", tarfile.CHRTYPE, mode=0o600),
    Entry("pipe", tarfile.FIFOTYPE),
    Entry("etc", DIRECTORY, mode=0o1777, owner=1000),
    Entry("etc/gone", FILE, "gone"),
    Entry("etc/kept", FILE, "kept" * 50_000, mode=0o600, owner=1000),
]
ABOVE = [
    Entry("etc", DIRECTORY, mode=0o755),
    Entry("etc/.wh.gone", FILE),
    Entry("etc/new", FILE, "new", mtime=5),
]


@pytest.fixture
def image() -> TestImage:
    """An image of two layers with all kinds of files."""
    history = [
        {"created": "2024-01-01T00:00:00Z", "created_by": "COPY all /"},
        {"created_by": "CMD", "empty_layer": True},
        {"created_by": "RUN \x1b[31mrm etc/gone", "comment": "second"},
    ]
    return TestImage(
        [tar(BELOW), tar(ABOVE)], ["registry.example/team/app:1", "app:latest"], extra={"history": history}
    )


@pytest.fixture
def layout(tmp_path: Path, image: TestImage) -> Path:
    return oci_layout(tmp_path / "layout", [image])


def folder(top: Path, image: TestImage) -> Path:
    return top / "images" / image.id[7:]


@pytest.mark.parametrize("options", ["size=exact", "size=lazy", "kernel", "kernel,size=lazy"])
def test_rootfs_is_the_merged_root_file_system(
    mount: Mount, layout: Path, image: TestImage, options: str
) -> None:
    with mount(layout, options=options) as top:
        found = real_facts(folder(top, image) / "rootfs")
    assert found == tree_facts(merged(image.layers), image.layers)
    assert found[b"bin/tool"][0] == stat.S_IFREG | 0o4755
    assert found[b"dev/console"][5] == (5, 1)


def test_each_layer_is_a_tar_and_a_tree_with_its_whiteouts(
    mount: Mount, layout: Path, image: TestImage
) -> None:
    with mount(layout) as top:
        layers = folder(top, image) / "layers"
        hexes = [hashlib.sha256(layer).hexdigest() for layer in image.layers]
        names = [f"{number:02}-{of[:12]}" for number, of in enumerate(hexes)]
        assert sorted(os.listdir(layers)) == sorted([*names, *(f"{name}.tar" for name in names)])
        for name, layer in zip(names, image.layers, strict=True):
            assert (layers / f"{name}.tar").read_bytes() == layer
            assert real_facts(layers / name) == tree_facts(layer_tree(layer), [layer])
        assert (layers / names[1] / "etc/.wh.gone").exists()


def test_rootfs_erofs_is_what_the_kernel_mounts_as_the_same(
    mount: Mount, imgfs: Imgfs, layout: Path, image: TestImage, tmp_path: Path
) -> None:
    with mount(layout) as top:
        file = folder(top, image) / "rootfs.erofs"
        with mounted_file(file, tmp_path / "erofs") as shown:
            assert real_facts(shown) == real_facts(folder(top, image) / "rootfs")
        data = file.read_bytes()
        assert file.stat().st_size == len(data)
    exported = imgfs("export", "--source", layout, image.id, "--format", "erofs").stdout
    assert exported == data


def test_flat_tar_is_one_tar_of_the_merged_tree(mount: Mount, layout: Path, image: TestImage) -> None:
    with mount(layout) as top:
        data = (folder(top, image) / "flat.tar").read_bytes()
        assert (folder(top, image) / "flat.tar").stat().st_size == len(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert "etc/new" in archive.getnames()
        assert not [name for name in archive.getnames() if "gone" in name]


def test_tar_tools_list_all_of_flat_tar(mount: Mount, layout: Path, image: TestImage) -> None:
    tree = merged(image.layers)
    expected = sorted(tree.path(entry).decode() for entry in tree.walk())
    with mount(layout) as top:
        for lister in (("tar", "tf"), ("bsdtar", "tf"), ("busybox", "tar", "tf")):
            command = [require_tool(lister[0]), *lister[1:], str(folder(top, image) / "flat.tar")]
            listed = subprocess.run(command, capture_output=True, check=True).stdout
            assert sorted(name.rstrip("/") for name in listed.decode().splitlines()) == expected, lister


def test_names_and_heads_lead_to_images(
    mount: Mount, tmp_path: Path, images: list[TestImage], image: TestImage
) -> None:
    with mount(docker_archive(tmp_path / "x.tar", [*images, image])) as top:
        assert sorted(os.listdir(top / "tags")) == ["app", "example", "registry.example"]
        assert os.listdir(top / "tags/registry.example/team") == ["app"]
        assert os.listdir(top / "tags/registry.example/team/app") == ["1"]
        assert os.path.samefile(top / "tags/registry.example/team/app/1", folder(top, image))
        assert os.path.samefile(top / "tags/registry.example/team/app:1", folder(top, image))
        assert os.path.samefile(top / "tags/app:latest", folder(top, image))
        assert sorted(os.listdir(top / "heads")) == sorted([images[-1].id[7:], image.id[7:]])
        assert os.path.samefile(top / "heads" / image.id[7:], folder(top, image))
        assert (folder(top, image) / "tags").read_text() == "registry.example/team/app:1\napp:latest\n"


def test_names_follow_the_store_while_it_is_mounted(
    mount: Mount, imgfs: Imgfs, archive: Path, images: list[TestImage]
) -> None:
    imgfs("load", archive)
    with mount("imgfs:") as top:
        tags = folder(top, images[0]) / "tags"
        assert tags.read_text() == "example/base:1\n"
        imgfs("tag", "example/base:1", "other:2")
        assert eventually(lambda: "other:2" in tags.read_text())
        assert os.listdir(top / "tags/other") == ["2"]
        imgfs("rm", images[-1].id)
        assert eventually(lambda: os.listdir(top / "heads") == [images[1].id[7:]])


@pytest.mark.parametrize("name", ["../../escape", "/absolute", "a/../b", "newline\n", "x" * 300, "", "a//b"])
def test_a_name_that_is_no_path_leads_nowhere(mount: Mount, tmp_path: Path, name: str) -> None:
    image = TestImage([tar(ABOVE)], [name, "plain:1"])
    with mount(docker_archive(tmp_path / "x.tar", [image])) as top:
        found = [os.path.join(path, name) for path, _, names in os.walk(top / "tags") for name in names]
        links = [path for path, names, _ in os.walk(top / "tags") for name in names if os.path.islink(path)]
        assert links == []
        assert len(list((top / "tags").rglob("*"))) in (2, 3)
        assert (top / "tags/plain:1").exists()
        assert all(path.startswith(str(top / "tags")) for path in found)
        assert "plain:1\n" in (folder(top, image) / "tags").read_text()


def test_history_tells_when_by_what_and_how_much(mount: Mount, layout: Path, image: TestImage) -> None:
    with mount(layout) as top:
        (folder(top, image) / "rootfs.tar").stat()  # so that sizes are known
        heading, *lines = (folder(top, image) / "history").read_text().splitlines()
    assert heading.split() == ["LAYER", "CREATED", "(UTC)", "SIZE", "CREATED", "BY", "#", "COMMENT"]
    sizes = [str(len(layer)) for layer in image.layers]
    assert lines[0].split() == ["01", "-", sizes[1], "RUN", "[31mrm", "etc/gone", "#", "second"]
    assert lines[1].split() == ["-", "-", "0", "CMD"]
    assert lines[2].split() == ["00", "2024-01-01", "00:00:00", sizes[0], "COPY", "all", "/"]


def test_the_manifest_is_there_where_the_source_has_one(
    mount: Mount, tmp_path: Path, layout: Path, image: TestImage
) -> None:
    with mount(layout) as top:
        manifest = (folder(top, image) / "manifest.json").read_bytes()
        assert (layout / "blobs/sha256" / hashlib.sha256(manifest).hexdigest()).read_bytes() == manifest
    with mount(docker_archive(tmp_path / "x.tar", [image])) as top:
        assert not (folder(top, image) / "manifest.json").exists()


@pytest.mark.parametrize("options", ["", "kernel"])
def test_unusual_names_and_very_large_directories_work(mount: Mount, tmp_path: Path, options: str) -> None:
    odd = [b"new\nline", b"not-utf8-\xff\xfe", "ünïcode".encode(), b"n" * 255, b" ", b"a\\b", b"*"]
    deep = "/".join(["d" * 250] * 16)
    entries = [Entry("odd/" + os.fsdecode(name), FILE, "content") for name in odd]
    entries += [Entry(f"many/{number:05}", FILE) for number in range(20_000)]
    image = TestImage([tar([*entries, Entry(f"{deep}/file", FILE, "deep down")])])
    with mount(docker_archive(tmp_path / "x.tar", [image]), options=options) as top:
        root = folder(top, image) / "rootfs"
        assert sorted(os.listdir(os.fsencode(root / "odd"))) == sorted(odd)
        for name in odd:
            assert Path(os.fsdecode(os.path.join(os.fsencode(root / "odd"), name))).read_text() == "content"
        for room in (1 << 15, 1 << 20):
            assert list(_listed(root / "many", room))[2:] == [b"%05d" % number for number in range(20_000)]
        here = os.open(root, os.O_RDONLY)
        for part in deep.split("/"):
            below = os.open(part, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        file = os.open("file", os.O_RDONLY, dir_fd=here)
        assert os.read(file, 100) == b"deep down"
        os.close(file)
        os.close(here)


@pytest.mark.parametrize("options", ["", "kernel"])
def test_a_directory_lists_the_inode_numbers_that_stat_answers(
    mount: Mount, layout: Path, image: TestImage, options: str
) -> None:
    with mount(layout, options=options) as top:
        listed = _listed(folder(top, image) / "rootfs/etc", 1 << 15)
        assert list(listed)[:2] == [b".", b".."]
        for name, number in listed.items():
            assert os.lstat(folder(top, image) / "rootfs/etc" / os.fsdecode(name)).st_ino == number


def _listed(folder: Path, room: int) -> dict[bytes, int]:
    """The names in a directory, each with its inode number, in the order they come; `room` bytes are asked for."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(room)
    listed: dict[bytes, int] = {}
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while (size := libc.getdents64(descriptor, buffer, room)) > 0:
            place, told = 0, buffer.raw[:size]
            while place < size:  # getdents(2): inode, position, length, type, name
                number, _, length = struct.unpack_from("=QqH", told, place)
                name = told[place + 19 : place + length].split(b"\0", 1)[0]
                assert name not in listed
                listed[name] = number
                place += length
        assert size == 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(descriptor)
    return listed


def test_owners_and_permissions_can_be_chosen(mount: Mount, layout: Path, image: TestImage) -> None:
    with mount(layout, options="uid=12,gid=34,umask=077") as top:
        status = (folder(top, image) / "rootfs/bin/tool").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12, 34, 0o4700)


@pytest.mark.parametrize("options", ["size=lazy", "size=lazy,kernel"])
def test_a_root_file_system_with_a_missing_layer_is_eio_and_its_layers_are_there(
    mount: Mount, layout: Path, image: TestImage, tmp_path: Path, options: str
) -> None:
    sizes = {path: path.stat().st_size for path in (layout / "blobs/sha256").iterdir()}
    max(sizes, key=lambda path: sizes[path]).unlink()  # the lower layer
    with mount(layout, options=options) as top:
        with pytest.raises(OSError, match="Input/output error"):
            os.listdir(folder(top, image) / "rootfs")
        names = os.listdir(folder(top, image) / "layers")
        (above,) = [
            folder(top, image) / "layers" / name for name in names if name[:3] == "01-" and len(name) == 15
        ]
        assert (above / "etc/new").read_text() == "new"
    assert "rootfs" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("options", ["", "kernel"])
def test_capabilities_are_seen_by_the_tools_that_show_them(
    mount: Mount, tmp_path: Path, options: str
) -> None:
    """security.capability as `setcap` writes it, through a tar of GNU tar's."""
    getcap, setcap = require_tool("getcap"), require_tool("setcap")
    program = tmp_path / "root" / "program"
    program.parent.mkdir()
    program.write_bytes(b"#!")
    subprocess.run([setcap, "cap_net_raw+ep", program], check=True)
    command = ["tar", "cf", "-", "--xattrs", "--xattrs-include=*", "-C", str(program.parent), "program"]
    layer = subprocess.run(command, capture_output=True, check=True).stdout
    image = TestImage([layer])
    with mount(docker_archive(tmp_path / "x.tar", [image]), options=options) as top:
        shown = subprocess.run(
            [getcap, folder(top, image) / "rootfs/program"], capture_output=True, check=True
        )
    assert b"cap_net_raw=ep" in shown.stdout
