"""The whole path: real images, mounted for real, read by real tar tools."""

import hashlib
import json
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount, eventually
from tests.images import TestImage, docker_archive, layer_tar, oci_layout
from tests.tools import require_tool


def _gnu(path: Path) -> list[str]:
    return _lines(require_tool("tar"), "tf", path)


def _bsdtar(path: Path) -> list[str]:
    return _lines(require_tool("bsdtar"), "tf", path)


def _busybox(path: Path) -> list[str]:
    return _lines(require_tool("busybox"), "tar", "tf", path)


def _python(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return [member.name + "/" * member.isdir() for member in archive]


def _lines(*command: object) -> list[str]:
    done = subprocess.run(list(map(str, command)), capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.decode().splitlines()


def _members(image: TestImage) -> list[str]:
    names = []
    for layer in image.layers:
        listed = subprocess.run(["tar", "tf", "-"], input=layer, capture_output=True, check=True)
        names += listed.stdout.decode().splitlines()
    return names


@pytest.mark.parametrize("form", ["docker-archive", "oci"])
def test_tar_tools_list_every_member_of_every_layer(
    mount: Mount, tmp_path: Path, images: list[TestImage], form: str
) -> None:
    make = docker_archive if form == "docker-archive" else oci_layout
    with mount(f"{form}:{make(tmp_path / 'images', images)}") as top:
        for image in images:
            members = _members(image)
            for list_ in (_gnu, _bsdtar, _busybox, _python):
                assert list_(top / "images" / image.id[7:] / "rootfs.tar") == members, list_


def test_verbatim_tar_is_the_concatenated_layer_tars(
    mount: Mount, archive: Path, images: list[TestImage]
) -> None:
    with mount(archive, options="tar=verbatim") as top:
        for image in images:
            data = (top / "images" / image.id[7:] / "rootfs.tar").read_bytes()
            assert hashlib.sha256(data).hexdigest() == hashlib.sha256(image.verbatim).hexdigest()


def test_the_tree_is_the_one_documented(mount: Mount, archive: Path, images: list[TestImage]) -> None:
    base, child, grandchild = images
    with mount(archive) as top:
        assert sorted(os.listdir(top)) == ["heads", "images", "oci", "tags"]
        assert sorted(os.listdir(top / "images")) == sorted(image.id[7:] for image in images)
        folder = top / "images" / child.id[7:]
        files = [
            "children",
            "config.json",
            "docker.tar",
            "flat.tar",
            "history",
            "layers",
            "oci",
            "parent",
            "rootfs",
            "rootfs.erofs",
            "rootfs.tar",
            "tags",
        ]
        assert sorted(os.listdir(folder)) == files
        assert (folder / "config.json").read_bytes() == child.config
        assert (folder / "parent").read_text() == f"{base.id}\n"
        assert (top / "images" / base.id[7:] / "parent").read_bytes() == b""
        assert os.listdir(folder / "children") == [grandchild.id[7:]]
        assert os.readlink(folder / "children" / grandchild.id[7:]) == f"../../{grandchild.id[7:]}"
        assert (folder / "children" / grandchild.id[7:] / "parent").read_text() == f"{child.id}\n"
        for alias in (child.id, child.id[7:19], f"sha256:{child.id[7:19]}"):
            assert os.readlink(top / "images" / alias) == child.id[7:]
        assert not (top / "images" / "0123456789ab").exists()
        assert not (top / "images" / "").joinpath("nonesuch").exists()


def test_any_range_read_by_many_at_once_is_right(
    mount: Mount, tmp_path: Path, images: list[TestImage]
) -> None:
    image = images[-1]
    layout = oci_layout(tmp_path / "layout", images)

    def read_some(seed: int) -> None:
        rng = random.Random(seed)
        fd = os.open(path, os.O_RDONLY)
        for _ in range(60):
            size, offset = rng.choice([1, 100, 4096, 70_000]), rng.randrange(len(image.verbatim) + 100)
            assert os.pread(fd, size, offset) == image.verbatim[offset : offset + size]
        os.close(fd)

    with mount(layout, options="tar=verbatim") as top:
        path = top / "images" / image.id[7:] / "rootfs.tar"
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(read_some, range(8)))


@pytest.mark.parametrize("option", ["size=exact", "size=lazy"])
def test_every_way_of_copying_is_complete(
    mount: Mount, tmp_path: Path, images: list[TestImage], option: str
) -> None:
    """Whatever a stat says while the size is not known, what is read is whole."""
    image = images[-1]
    with mount(oci_layout(tmp_path / "layout", images), options=f"tar=verbatim,{option}") as top:
        path = top / "images" / image.id[7:] / "rootfs.tar"
        copies = [tmp_path / name for name in ("cp", "python", "cat", "dd")]
        subprocess.run(["cp", path, copies[0]], check=True)
        shutil.copyfile(path, copies[1])
        with copies[2].open("wb") as file:
            subprocess.run(["cat", path], stdout=file, check=True)
        subprocess.run(["dd", f"if={path}", f"of={copies[3]}", "bs=7777", "status=none"], check=True)
        for copy in copies:
            assert copy.read_bytes() == image.verbatim


@pytest.mark.parametrize("option", ["size=exact", "size=lazy"])
def test_reading_without_asking_for_the_size_is_complete(
    mount: Mount, tmp_path: Path, images: list[TestImage], option: str
) -> None:
    """Of layers never seen, from the start, in the middle and to the end."""
    image = images[-1]
    with mount(oci_layout(tmp_path / "layout", images), options=f"tar=verbatim,{option}") as top:
        path, found, offset = top / "images" / image.id[7:] / "rootfs.tar", b"", 0
        file = os.open(path, os.O_RDONLY)
        assert os.pread(file, 1000, 100_000) == image.verbatim[100_000:101_000]
        while chunk := os.pread(file, 70_000, offset):
            found += chunk
            offset += len(chunk)
        os.close(file)
    assert found == image.verbatim


def test_images_come_and_go_without_remounting(
    mount: Mount, imgfs: Imgfs, archive: Path, images: list[TestImage]
) -> None:
    _, child, grandchild = images
    with mount("imgfs:") as top:
        assert os.listdir(top / "images") == []
        imgfs("load", archive)
        assert eventually(lambda: len(os.listdir(top / "images")) == 3)
        folder = top / "images" / grandchild.id[7:]
        assert folder.is_dir()
        with (folder / "rootfs.tar").open("rb") as open_file:
            imgfs("rm", grandchild.id)
            assert eventually(lambda: len(os.listdir(top / "images")) == 2)
            assert eventually(lambda: not folder.exists())
            assert os.listdir(top / "images" / child.id[7:] / "children") == []
            with tarfile.open(fileobj=open_file) as left:
                assert [m.name for m in left] == [name.rstrip("/") for name in _members(grandchild)]


def test_a_layout_given_by_a_relative_path_is_followed_from_the_background(
    mount: Mount, tmp_path: Path, images: list[TestImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = oci_layout(tmp_path / "layout", images) / "index.json"
    monkeypatch.chdir(tmp_path)
    with mount("oci:layout") as top:
        document = json.loads(index.read_text())
        index.write_text(json.dumps(document | {"manifests": document["manifests"][:1]}))
        assert eventually(lambda: os.listdir(top / "images") == [images[0].id[7:]])
    assert (tmp_path / "log").read_text() == ""


def test_what_is_removed_while_open_can_still_be_measured_and_read(
    mount: Mount, tmp_path: Path, images: list[TestImage]
) -> None:
    """By programs that first ask for the size, which was not known when the image was removed."""
    index = oci_layout(tmp_path / "layout", images) / "index.json"
    with mount(index.parent, options="tar=verbatim") as top:
        path = top / "images" / images[-1].id[7:] / "rootfs.tar"
        fd = os.open(path, os.O_RDONLY)
        try:
            document = json.loads(index.read_text())
            index.write_text(json.dumps(document | {"manifests": document["manifests"][:1]}))
            assert eventually(lambda: not path.exists())
            assert os.fstat(fd).st_size in (0, len(images[-1].verbatim))
            done = subprocess.run(["cat"], stdin=fd, capture_output=True, check=True)
        finally:
            os.close(fd)
        assert done.stdout == images[-1].verbatim


def test_several_sources_are_one_tree(mount: Mount, tmp_path: Path, images: list[TestImage]) -> None:
    one = docker_archive(tmp_path / "one.tar", images[:2])
    two = oci_layout(tmp_path / "two", images[1:])
    with mount(one, two) as top:
        assert sorted(os.listdir(top / "images")) == sorted(image.id[7:] for image in images)


def test_an_image_that_one_of_its_sources_drops_is_read_from_the_other(
    mount: Mount, tmp_path: Path, images: list[TestImage]
) -> None:
    image, other = images[0], images[-1]
    first, second = (oci_layout(tmp_path / name, images) for name in ("first", "second"))
    with mount(first, second) as top:
        folder = top / "images" / image.id[7:]
        _everything(folder)  # so that the kernel knows of it, and its sizes are known
        before = _everything(folder)
        shutil.rmtree(first / "blobs")
        oci_layout(tmp_path / "new", [other])
        (tmp_path / "new/blobs").rename(first / "blobs")
        (tmp_path / "new/index.json").rename(first / "index.json")
        time.sleep(0.6)  # two looks at the sources
        assert {name: (folder / name).read_bytes() for name in before} == before


def _everything(folder: Path) -> dict[str, bytes]:
    """The content of every file below, by its path."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_broken_layers_are_eio_and_the_rest_stays_usable(
    mount: Mount, tmp_path: Path, images: list[TestImage]
) -> None:
    layout = oci_layout(tmp_path / "layout", images)
    manifest = _manifest(layout, images[-1])
    top_blob, data_blob = (layout / "blobs/sha256" / manifest["layers"][n]["digest"][7:] for n in (-1, -2))
    top_blob.unlink()
    data = bytearray(data_blob.read_bytes())
    data[len(data) // 2] ^= 0x55
    data_blob.write_bytes(data)
    with mount(layout, options="tar=verbatim,size=lazy") as top:
        assert (top / "images" / images[0].id[7:] / "rootfs.tar").read_bytes() == images[0].verbatim
        broken = top / "images" / images[-1].id[7:]
        assert (broken / "config.json").read_bytes() == images[-1].config
        with (broken / "rootfs.tar").open("rb", buffering=0) as file:
            whole = len(images[0].verbatim)
            assert file.read(whole) == images[0].verbatim
            with pytest.raises(OSError, match="Input/output error"):
                file.read()
        assert subprocess.run(["ls", "-l", broken], capture_output=True, check=False).returncode in (0, 1)
    log = (tmp_path / "log").read_text()
    assert manifest["layers"][-2]["digest"] in log or "gzip" in log


@pytest.mark.parametrize(
    "damage", ["truncated config", "missing config", "missing manifest", "nonsense manifest"]
)
def test_a_broken_image_is_absent_and_named_in_the_log(
    mount: Mount, tmp_path: Path, images: list[TestImage], damage: str
) -> None:
    layout = oci_layout(tmp_path / "layout", images)
    index = json.loads((layout / "index.json").read_text())
    manifest_digest = index["manifests"][-1]["digest"]
    config, manifest = (layout / "blobs/sha256" / name[7:] for name in (images[-1].id, manifest_digest))
    match damage:
        case "truncated config":
            config.write_bytes(config.read_bytes()[:100])
        case "missing config":
            config.unlink()
        case "missing manifest":
            manifest.unlink()
        case "nonsense manifest":
            manifest.write_bytes(b"[" * 200_000)
    with mount(layout) as top:
        assert sorted(os.listdir(top / "images")) == sorted(image.id[7:] for image in images[:-1])
    (line,) = [line for line in (tmp_path / "log").read_text().splitlines() if manifest_digest in line]
    assert "skipping" in line


def test_a_layout_cannot_lead_outside(mount: Mount, tmp_path: Path, images: list[TestImage]) -> None:
    """A blob that is a symbolic link out of the layout, and one that links to itself."""
    layout = oci_layout(tmp_path / "layout", images)
    first, second = (
        layout / "blobs/sha256" / _manifest(layout, images[-1])["layers"][n]["digest"][7:] for n in (-1, -2)
    )
    secret = tmp_path / "secret"
    secret.write_bytes(layer_tar({"secret": b"secret"}))
    first.unlink()
    first.symlink_to(secret)
    second.unlink()
    second.symlink_to(second)
    with mount(layout, options="size=lazy") as top:
        file = (top / "images" / images[-1].id[7:] / "rootfs.tar").open("rb")
        with file, pytest.raises(OSError, match="Input/output error"):
            file.read()
        assert (top / "images" / images[0].id[7:] / "rootfs.tar").read_bytes()


def test_garbage_after_the_end_of_a_layer_does_not_show(mount: Mount, tmp_path: Path) -> None:
    """An inner layer with garbage behind its ending does not stop tar tools."""
    first = layer_tar({"a": b"a"}) + b"garbage!" * 64 * 3
    image = TestImage([first, layer_tar({"b": b"b"})])
    with mount(docker_archive(tmp_path / "x.tar", [image])) as top:
        path = top / "images" / image.id[7:] / "rootfs.tar"
        assert path.stat().st_size == len(image.verbatim)
        assert _gnu(path) == _python(path) == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["absent.tar", "mnt"], "absent.tar"),
        (["family.tar", "absent"], "absent"),
        (["nonesuch:x", "mnt"], "nonesuch:x"),
        (["oci:mnt", "mnt"], "mnt"),
    ],
)
def test_what_cannot_be_mounted_is_one_line(
    imgfs: Imgfs, archive: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], named: str
) -> None:
    monkeypatch.chdir(archive.parent)
    (archive.parent / "mnt").mkdir()
    stderr = imgfs("mount", *arguments, status=32).stderr.decode()
    assert stderr.count("\n") == 1
    assert named in stderr
    assert not os.path.ismount(archive.parent / "mnt")


def test_an_unknown_option_of_a_mount_is_wrong_usage(imgfs: Imgfs, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    stderr = imgfs("mount", archive, tmp_path / "mnt", "-o", "nonsense", status=2).stderr.decode()
    assert "unknown option: 'nonsense'" in stderr


@pytest.mark.parametrize(("place", "named"), [("layout", "oci:"), (".", "oci:"), ("cache", "the cache")])
def test_what_is_read_to_serve_the_mount_is_not_covered_by_it(
    imgfs: Imgfs, tmp_path: Path, images: list[TestImage], place: str, named: str
) -> None:
    layout = oci_layout(tmp_path / "layout", images)
    imgfs("index", layout)
    (tmp_path / "link").symlink_to(tmp_path / place)
    stderr = imgfs("mount", layout, tmp_path / "link", status=32).stderr.decode()
    assert stderr.startswith(f"imgfs: {tmp_path}/link: {named}")
    assert stderr.endswith("would be covered\n")
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["mountpoint", "-q", tmp_path / place], check=True)


def test_no_mountpoint_at_all_is_wrong_usage(imgfs: Imgfs, archive: Path) -> None:
    assert b"MOUNTPOINT" in imgfs("mount", archive, "", status=2).stderr


def test_what_others_have_mounted_stays(imgfs: Imgfs, tmp_path: Path) -> None:
    """An overlay of squashfuse, which an ordinary user could unmount as well as we."""
    (tmp_path / "empty").mkdir()
    top = tmp_path / "a place"
    top.mkdir()
    subprocess.run(
        [require_tool("mksquashfs"), tmp_path / "empty", tmp_path / "squash", "-quiet", "-no-progress"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    subprocess.run([require_tool("squashfuse_ll"), tmp_path / "squash", top], check=True)
    try:
        for lazy in ([], ["-l"]):
            stderr = imgfs("umount", *lazy, top, status=32).stderr.decode()
            assert stderr == f"imgfs: {top}: not mounted by imgfs, but fuse.squashfuse_ll\n"
        assert os.path.ismount(top)
    finally:
        subprocess.run(["umount", top], check=True)


def test_it_can_be_mounted_as_fstab_does(
    imgfs: Imgfs, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By way of mount.fuse3(8), which runs the command that the type names and adds options of its own."""
    command, top = tmp_path / "bin" / "imgfs", tmp_path / "a mountpoint"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m imgfs "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    top.mkdir()
    for options in ("rw", "defaults,nofail,_netdev,nodev,nosuid,uid=7"):
        subprocess.run([require_tool("mount.fuse3"), f"imgfs#{archive}", top, "-o", options], check=True)
        assert len(os.listdir(top / "images")) == 3
        imgfs("umount", top)


def test_in_front_it_logs_to_standard_error_and_ends_on_sigterm(
    environment: None, tmp_path: Path, images: list[TestImage]
) -> None:
    layout = oci_layout(tmp_path / "layout", images)
    (layout / "blobs/sha256" / images[0].id[7:]).unlink()
    top = tmp_path / "mnt"
    top.mkdir()
    command = [sys.executable, "-m", "imgfs", "mount", "-f", str(layout), str(top)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert eventually(lambda: os.path.ismount(top))
        process.terminate()
        assert process.stderr is not None
        stderr = process.stderr.read().decode()
        assert process.wait(60) == 0
    assert not os.path.ismount(top)
    assert "skipping manifest" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_in_front_it_reports_to_the_service_manager(
    environment: None, tmp_path: Path, archive: Path, kind: str
) -> None:
    top = tmp_path / "mnt"
    top.mkdir()
    address = f"@imgfs-test-{os.getpid()}" if kind == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        manager.settimeout(20)
        command = [sys.executable, "-m", "imgfs", "mount", "-f", str(archive), str(top)]
        with subprocess.Popen(command, env=os.environ | {"NOTIFY_SOCKET": address}) as process:
            assert manager.recv(1000).decode() == f"READY=1\nSTATUS=3 images at {top}"
            assert os.path.ismount(top)
            process.terminate()
            assert manager.recv(1000) == b"STOPPING=1"
            assert process.wait(60) == 0


def test_the_table_of_mounts_shows_the_sources_as_they_were_given(
    mount: Mount, archive: Path, tmp_path: Path, images: list[TestImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = oci_layout(tmp_path / "a layout", images)
    monkeypatch.chdir(tmp_path)
    with mount("imgfs:", archive.name, f"oci:{layout.name}", archive) as top:
        findmnt = [require_tool("findmnt"), "-rno", "SOURCE,FSTYPE", str(top)]
        found = subprocess.run(findmnt, capture_output=True, text=True, check=True).stdout
        shown = f"imgfs:,{archive},oci:{layout},{archive}".replace(" ", r"\x20")
        assert found == f"{shown} fuse.imgfs\n"
        (line,) = (line for line in Path("/proc/mounts").read_text().splitlines() if f" {top} " in line)
        assert line.split()[0] == shown.replace(r"\x20", r"\040")


def test_df_shows_the_bytes_of_all_layers_and_no_room(
    mount: Mount, tmp_path: Path, images: list[TestImage]
) -> None:
    held = {layer: len(layer) for image in images for layer in image.layers}
    with mount(oci_layout(tmp_path / "layout", images, "none")) as top:
        shown = os.statvfs(top)
        assert shown.f_blocks == -(-sum(held.values()) // 4096)
        assert (shown.f_frsize, shown.f_bfree, shown.f_bavail, shown.f_ffree) == (4096, 0, 0, 0)
        assert (shown.f_files, shown.f_namemax) == (len(images), 255)
        os.listdir(top / "images" / images[0].id[7:] / "rootfs")
        assert os.statvfs(top).f_files > len(images)


def test_df_shows_sizes_once_they_are_known(mount: Mount, tmp_path: Path, images: list[TestImage]) -> None:
    with mount(oci_layout(tmp_path / "layout", images)) as top:
        assert os.statvfs(top).f_blocks == 0
        (top / "images" / images[0].id[7:] / "rootfs.tar").stat()
        assert os.statvfs(top).f_blocks == -(-len(images[0].verbatim) // 4096)


def test_as_many_files_may_be_open_as_the_user_may_have(
    environment: None, tmp_path: Path, archive: Path
) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = tmp_path / "mnt"
    top.mkdir()
    few = (require_tool("prlimit"), "--nofile=256:")
    command = [*few, sys.executable, "-m", "imgfs", "mount", "-f", str(archive), str(top)]
    with subprocess.Popen(command) as process:
        try:
            assert eventually(lambda: os.path.ismount(top))
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (most, most)
        finally:
            process.terminate()


def _manifest(layout: Path, image: TestImage) -> dict[str, list[dict[str, str]]]:
    for entry in json.loads((layout / "index.json").read_text())["manifests"]:
        manifest = json.loads((layout / "blobs/sha256" / entry["digest"][7:]).read_text())
        if manifest["config"]["digest"] == image.id:
            return manifest  # type: ignore[no-any-return]
    raise AssertionError(image.id)
