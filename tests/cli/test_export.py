"""`imgfs export`: what is written, and where to."""

import os
import stat
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount
from tests.erofs.images import tool
from tests.images import TestImage, docker_archive, layer_tar, oci_layout
from tests.tar.archives import extended, header
from tests.tools import require_tool

NO_ID = 0xFFFFFFFF  # in an entry of an access control list that is of no user or group by number
Export = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def export(imgfs: Imgfs, archive: Path, images: list[TestImage]) -> Export:
    """Exports the layers of the last of the images: `export("-o", path)`."""
    return lambda *arguments, status=0: imgfs(
        "export", "--tar", "rootfs", "--source", archive, images[-1].id, *arguments, status=status
    )


def test_a_file_is_there_whole_or_not_at_all(export: Export, archive: Path, images: list[TestImage]) -> None:
    target = archive.parent / "out.tar"
    export("-o", target)
    assert target.stat().st_size == len(images[-1].verbatim)
    data = archive.read_bytes()
    archive.write_bytes(data[: data.index(images[-1].layers[-1][:512]) + 100] + data[-2048:])
    export("-o", archive.parent / "failed.tar", status=1)
    assert not any(name.startswith("failed") for name in os.listdir(archive.parent))


@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("below", [[], [layer_tar({"etc/": None})]], ids=["alone", "on another layer"])
def test_what_lacks_members_of_a_damaged_layer_is_said_to_be_incomplete_each_time(
    imgfs: Imgfs, tmp_path: Path, compression: str, below: list[bytes]
) -> None:
    files = layer_tar(
        {f"{number:04}": b"" for number in range(1100)}, padding=False
    )  # so many that it is kept
    damaged = files[:-1024] + b"x" * 512 + layer_tar({"behind": b""})
    layout = oci_layout(tmp_path / "layout", [TestImage([*below, damaged], ["app:1"])], compression)
    for name in ("first.tar", "second.tar"):
        done = imgfs("export", "--source", layout, "app:1", "-o", tmp_path / name, status=1)
        *_, warning, error = done.stderr.decode().splitlines()
        assert f"not all of its members can be read: tar header at offset {len(files) - 1024}" in warning
        assert error == "imgfs: app:1: incomplete, as not all members of its layers can be read"
        with tarfile.open(tmp_path / name) as archive:
            assert len(archive.getnames()) == 1100 + len(below)
    imgfs("export", "--source", layout, "app:1", "-C", tmp_path / "unpacked", status=1)


def test_a_dash_is_standard_output(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert export("-o", "-").stdout == export().stdout != b""
    assert not os.path.exists("-")


def test_a_file_that_was_there_keeps_its_mode_and_the_links_to_it(export: Export, tmp_path: Path) -> None:
    real, link = tmp_path / "real.tar", tmp_path / "link.tar"
    real.write_bytes(b"before")
    real.chmod(0o600)
    link.symlink_to(real)
    export("-o", link)
    assert link.is_symlink()
    assert real.read_bytes() == export().stdout
    assert stat.S_IMODE(real.stat().st_mode) == 0o600


def test_a_pipe_is_written_into(export: Export, tmp_path: Path) -> None:
    pipe, copy = tmp_path / "pipe", tmp_path / "copy"
    os.mkfifo(pipe)
    with open(copy, "wb") as file, subprocess.Popen(["cat", pipe], stdout=file):
        export("-o", pipe)
    assert pipe.is_fifo()
    assert copy.read_bytes() == export().stdout


def test_a_device_is_written_into(export: Export, tmp_path: Path) -> None:
    null, full = tmp_path / "null", tmp_path / "full"
    null.symlink_to("/dev/null")
    full.symlink_to("/dev/full")
    export("-o", null)
    assert export("-o", full, status=1).stderr.decode().endswith(f"imgfs: {full}: No space left on device\n")
    assert null.is_char_device() and full.is_char_device()


@pytest.mark.parametrize(
    ("place", "why"), [("none/x.tar", "No such file or directory"), (".", "Is a directory")]
)
def test_an_error_names_the_file_asked_for(export: Export, tmp_path: Path, place: str, why: str) -> None:
    path = os.path.join(tmp_path, place)
    assert export("-o", path, status=1).stderr.decode() == f"imgfs: {path}: {why}\n"


def test_flat_is_the_flat_tar_of_the_mount(
    export: Export, mount: Mount, archive: Path, images: list[TestImage]
) -> None:
    with mount(archive) as top:
        flat = (top / "images" / images[-1].id[7:] / "flat.tar").read_bytes()
    assert export("--tar", "flat").stdout == flat


def test_the_root_file_system_is_what_is_exported_unless_layers_are_asked_for(
    imgfs: Imgfs, export: Export, archive: Path, images: list[TestImage]
) -> None:
    command = ("export", "--source", archive, images[-1].id)
    flat = imgfs(*command)
    assert flat.stdout == export("--tar", "flat").stdout
    assert flat.stderr == b""
    assert b"etc/passwd" not in flat.stdout  # which the last layer deletes
    layers = export()
    assert b"etc/passwd" in layers.stdout
    assert b"all layers" in layers.stderr
    assert layers.stderr.count(b"\n") == 1


def test_it_is_unpacked_into_a_directory(
    imgfs: Imgfs, tmp_path: Path, archive: Path, images: list[TestImage]
) -> None:
    command = ("export", "--source", archive, images[-1].id)
    imgfs(*command, "-C", tmp_path / "new/unpacked")
    (tmp_path / "tar").mkdir()
    subprocess.run(["tar", "xf", "-", "-C", tmp_path / "tar"], input=imgfs(*command).stdout, check=True)
    subprocess.run(["diff", "-r", tmp_path / "tar", tmp_path / "new/unpacked"], check=True)
    assert b"do not go" in imgfs(*command, "-C", "x", "-o", "y", status=2).stderr


def test_a_directory_that_has_something_in_it_is_not_unpacked_into(
    imgfs: Imgfs, archive: Path, images: list[TestImage], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    imgfs("export", "--source", archive, images[-1].id, "-C", folder)
    made = sorted(folder.iterdir())
    assert made
    again = imgfs("export", "--source", archive, images[-1].id, "-C", folder, status=1)
    assert again.stderr.decode() == f"imgfs: {folder}: Directory not empty\n"
    assert sorted(folder.iterdir()) == made


def test_file_systems_are_written_for_tools_to_read(
    imgfs: Imgfs, tmp_path: Path, archive: Path, images: list[TestImage]
) -> None:
    command = ("export", "--source", archive, images[-1].id)
    imgfs(*command, "-C", tmp_path / "unpacked")
    for kind in ("erofs", "squashfs"):
        done = imgfs(*command, "--format", kind, "-o", tmp_path / kind)
        assert (done.stdout, done.stderr) == (b"", b"")
    unsquashfs = [require_tool("unsquashfs"), "-d", str(tmp_path / "unsquashed"), str(tmp_path / "squashfs")]
    subprocess.run(unsquashfs, check=True, capture_output=True)
    subprocess.run(["diff", "-r", tmp_path / "unpacked", tmp_path / "unsquashed"], check=True)
    fsck = [*tool("fsck.erofs", "trixie"), f"--extract={tmp_path / 'extracted'}", str(tmp_path / "erofs")]
    subprocess.run(fsck, check=True, capture_output=True)
    subprocess.run(["diff", "-r", tmp_path / "unpacked", tmp_path / "extracted"], check=True)


@pytest.mark.parametrize("more", [("--tar", "rootfs"), ("--tar", "diff"), ("-C", "folder")])
def test_a_file_system_is_of_the_merged_root_and_not_unpacked(
    imgfs: Imgfs, archive: Path, images: list[TestImage], more: tuple[str, str]
) -> None:
    done = imgfs("export", "--source", archive, images[-1].id, "--format", "erofs", *more, status=2)
    assert b"go with" in done.stderr


def test_lists_that_squashfs_has_no_room_for_are_reported(imgfs: Imgfs, tmp_path: Path) -> None:
    entries = struct.pack("<IHHIHHIHHI", 2, 1, 6, NO_ID, 4, 4, NO_ID, 32, 4, NO_ID)
    layer = extended(b"x", {b"SCHILY.xattr.system.posix_acl_access": entries}) + header() + bytes(1024)
    image = TestImage([layer])
    source = docker_archive(tmp_path / "image.tar", [image])
    done = imgfs("export", "--source", source, image.id, "--format", "squashfs", "-o", tmp_path / "out")
    assert done.stderr == b"imgfs: access control lists are left out, which SquashFS has no room for\n"
