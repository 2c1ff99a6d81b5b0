"""Root file systems that the kernel shows itself, with `-o kernel`."""

import errno
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import cast

import pytest

from imgfs.mount import MountBusy, unmount
from imgfs.mount.kernel_mounts import KernelMounts, _Cover
from imgfs.mount.mount_api import Unmount
from imgfs.mount.options import MountOptions
from imgfs.mount.table import MountEntry, mounted_at, mounted_below, mounts
from imgfs.view import NodeTable
from tests.conftest import Imgfs, Mount, eventually
from tests.images import TestImage, docker_archive, layer_tar
from tests.kernel import kernel_has_erofs
from tests.mount.test_umount import user
from tests.tools import require_root
from tests.tree.stacks import Entry, tar

LOWER = layer_tar({"etc/": None, "etc/name": b"lower\n", "bin/": None, "bin/tool": bytes(range(256)) * 1000})
IMAGES = [
    TestImage([LOWER, layer_tar({"etc/name": b"upper\n"})], ["app:1"]),
    TestImage([LOWER], ["base:1"]),
]
LOOKS = {
    "listing it": "os.listdir(root)",
    "a path into it": "open(root + '/etc/name').close()",
    "entering it": "os.chdir(root)",
    "from its directory": "os.chdir(root + '/..'); os.listdir('rootfs')",
    "a link to it": "os.listdir(root + '/../../../tags/app/1/rootfs')",
}

WITHOUT_EROFS = """
import errno
from imgfs.mount import mount_api

def new_mount(kind, settings=(), attributes=0, *, new_mount=mount_api.new_mount):
    if kind == "erofs" and ({always} or settings):
        raise OSError(errno.{number}, "failed")
    return new_mount(kind, settings, attributes)

mount_api.new_mount = new_mount
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The images as a docker archive, for users who may mount what the kernel shows."""
    require_root()
    return docker_archive(tmp_path / "images.tar", IMAGES)


def rootfs(top: Path, image: TestImage = IMAGES[0]) -> Path:
    return top / "images" / image.id.hex / "rootfs"


def covers(top: Path) -> list[MountEntry]:
    """What is mounted below the mount at `top`."""
    entry = mounted_at(str(top))
    return mounted_below(entry) if entry is not None else []


def run(code: str, *arguments: str | Path) -> str:
    command = [sys.executable, "-c", f"import os, sys; root = sys.argv[1]; {code}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def _is_served(top: Path) -> bool:
    try:
        os.statvfs(top)
    except OSError:  # by a process that was killed
        return False
    return os.path.ismount(os.path.realpath(top))


@contextmanager
def serving(
    source: Path, top: Path, options: str = "", *, idle: float = 30, before: str = "pass"
) -> Iterator["Popen[str]"]:
    """A process that serves in front, and unmounts what is idle for so many seconds; it runs `before` first."""
    code = (
        f"{before}\nfrom imgfs.mount import kernel_mounts; kernel_mounts._IDLE_SECONDS = {idle}; "
        "from imgfs.cli.main import main; main()"
    )
    top.mkdir(exist_ok=True)
    command = [sys.executable, "-c", code, "mount", "-f", "-o", f"kernel{options}", str(source), str(top)]
    with Popen(command, stderr=PIPE, text=True) as process:
        try:
            assert eventually(lambda: _is_served(top) or process.poll() is not None)
            yield process
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.parametrize("options", ["kernel", "kernel,size=lazy"])
@pytest.mark.parametrize("look", LOOKS)
def test_who_looks_into_a_root_file_system_is_at_once_in_one_of_the_kernels(
    mount: Mount, source: Path, tmp_path: Path, look: str, options: str
) -> None:
    with mount(source, options=options) as top:
        run(LOOKS[look], rootfs(top))
        found = covers(top)
        assert (rootfs(top) / "etc/name").read_text() == "upper\n"
        assert (rootfs(top) / "bin/tool").read_bytes() == bytes(range(256)) * 1000
    if kernel_has_erofs():
        assert [entry.path for entry in found] == [str(rootfs(top))]
    else:
        assert found == []
        assert "FUSE serves" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    "walk",
    [
        "len(list(os.fwalk(root)))",
        "os.system(f'cd {root}/..; ls > /dev/null; find rootfs -xdev -type d | wc -l')",
    ],
)
def test_programs_that_compare_device_numbers_see_one_file_system(
    mount: Mount, source: Path, walk: str
) -> None:
    with mount(source, options="kernel") as top:
        assert run(f"print({walk})", rootfs(top)).split()[0] == "3"


def test_a_stat_mounts_nothing_where_layers_have_to_be_fetched_first(mount: Mount, source: Path) -> None:
    with mount(source, options="kernel,size=lazy") as top:
        assert rootfs(top).is_dir()
        assert covers(top) == []


def test_a_process_that_was_in_it_before_is_served_by_fuse(mount: Mount, source: Path) -> None:
    with mount(source, options="kernel") as top:
        before = os.open(rootfs(top), os.O_PATH)
        try:
            inside = os.open("etc", os.O_PATH, dir_fd=before)
            os.close(inside)
            assert os.listdir(rootfs(top)) == ["bin", "etc"]
            assert run(f"print(os.listdir('/proc/{os.getpid()}/fd/{before}/etc'))", "") == "['name']\n"
            again = os.open(".", os.O_RDONLY, dir_fd=before)
            assert os.listdir(again) == ["bin", "etc"]
            os.close(again)
        finally:
            os.close(before)
        assert os.lstat(rootfs(top)).st_dev != os.lstat(top).st_dev or not kernel_has_erofs()


def test_images_that_share_a_layer_are_mounted_side_by_side(mount: Mount, source: Path) -> None:
    with mount(source, options="kernel,noexec") as top:
        for image, name in zip(IMAGES, ("upper\n", "lower\n"), strict=True):
            assert (rootfs(top, image) / "etc/name").read_text() == name
            flags = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_RDONLY
            assert os.statvfs(rootfs(top, image)).f_flag & flags == flags
        assert len(covers(top)) == 2 * kernel_has_erofs()


def test_links_are_shown_inside_if_they_are_so_by_fuse(mount: Mount, tmp_path: Path) -> None:
    require_root()
    image = TestImage([tar([Entry("a", tarfile.DIRTYPE), Entry("a/link", tarfile.SYMTYPE, "/b/c")])])
    with mount(docker_archive(tmp_path / "x.tar", [image]), options="kernel,symlinks=inside") as top:
        assert os.readlink(rootfs(top, image) / "a/link") == "../b/c"
        assert len(covers(top)) == kernel_has_erofs()


def test_what_is_idle_is_unmounted_and_mounted_again(source: Path, tmp_path: Path) -> None:
    top = tmp_path / "mnt"

    def stays_while_it_is_open() -> bool:
        with open(rootfs(top) / "etc/name") as file:
            if len(covers(top)) != kernel_has_erofs():
                return False  # it was being unmounted
            time.sleep(1)
            return len(covers(top)) == kernel_has_erofs() and file.read() == "upper\n"

    with serving(source, top, idle=0.2):
        for _ in range(2):
            assert eventually(stays_while_it_is_open)
            assert eventually(lambda: covers(top) == [])


def test_what_a_user_unmounts_is_mounted_again(source: Path, tmp_path: Path) -> None:
    top = tmp_path / "mnt"
    with serving(source, top, idle=0.2):
        os.listdir(rootfs(top))
        for entry in covers(top):
            subprocess.run(["umount", entry.path], check=True)
        assert os.listdir(rootfs(top)) == ["bin", "etc"]
        assert eventually(lambda: bool(os.listdir(rootfs(top))) and len(covers(top)) == kernel_has_erofs())


@pytest.mark.parametrize(
    "way", ["signal", "imgfs umount", "imgfs umount -l", "umount", "umount -R", "umount -l"]
)
def test_nothing_is_left_at_the_end(source: Path, tmp_path: Path, way: str) -> None:
    top = tmp_path / "mnt"
    with serving(source, top) as process:
        os.listdir(rootfs(top))
        assert len(covers(top)) == kernel_has_erofs()
        if way == "signal":
            process.terminate()
        else:
            program = [sys.executable, "-m"] if way.startswith("imgfs") else []
            subprocess.run([*program, *way.split(), top], check=True)
        assert process.wait(60) == 0
        assert [entry.path for entry in mounts() if entry.path.startswith(str(top))] == []


def test_a_mount_that_has_the_number_of_one_that_is_gone_is_left_alone(tmp_path: Path) -> None:
    """Linux uses numbers again."""
    kernel, cover = (
        KernelMounts(str(tmp_path), MountOptions()),
        _Cover(cast(NodeTable, None), number=mounts()[0].number),
    )
    cover.finished.set()
    assert kernel._gone([("", cover)], Unmount.EXPIRE) == [("", cover)]


def test_nothing_is_left_when_the_connection_is_cut_off(source: Path, tmp_path: Path) -> None:
    top = tmp_path / "mnt"
    with serving(source, top) as process:
        os.listdir(rootfs(top))
        subprocess.run(["umount", "-f", top], check=False, stderr=PIPE)
        assert process.wait(60) == 0
    assert [entry.path for entry in mounts() if entry.path.startswith(str(top))] == []


def test_what_is_in_use_keeps_umount_from_unmounting(source: Path, tmp_path: Path) -> None:
    top = tmp_path / "mnt"
    with serving(source, top):
        os.listdir(rootfs(top, IMAGES[1]))
        with open(rootfs(top) / "etc/name") as file:
            failed = subprocess.run(["umount", top], check=False, stderr=PIPE)
            assert failed.returncode == 32 and b"busy" in failed.stderr
            assert len(covers(top)) == kernel_has_erofs()
            assert file.read() == "upper\n"
        subprocess.run(["umount", top], check=True)


def test_after_a_kill_the_next_mount_cleans_up(source: Path, tmp_path: Path) -> None:
    top = tmp_path / "mnt"
    with serving(source, top) as process:
        os.listdir(rootfs(top))
        process.kill()
        process.wait(60)
    before = [entry.number for entry in mounts() if entry.path.startswith(str(top))]
    assert len(before) == 1 + kernel_has_erofs()
    with serving(source, top):
        assert os.listdir(rootfs(top)) == ["bin", "etc"]
        present = [entry.number for entry in mounts() if entry.path.startswith(str(top))]
        assert len(present) == 1 + kernel_has_erofs()


def test_a_busy_mount_says_who_uses_what_the_kernel_shows(source: Path, tmp_path: Path) -> None:
    top = tmp_path / "mnt"
    with serving(source, top):
        with user(rootfs(top), "os.chdir(top + '/etc')") as pid, pytest.raises(MountBusy) as caught:
            unmount(str(top))
        assert [reason for reason in caught.value.reasons if f"(PID {pid}): working directory" in reason]
        unmount(str(top))


def test_an_image_that_is_removed_takes_its_mount_along(mount: Mount, imgfs: Imgfs, source: Path) -> None:
    imgfs("load", source)
    with mount("imgfs:", options="kernel") as top:
        file = os.open(rootfs(top) / "bin/tool", os.O_RDONLY)
        os.listdir(rootfs(top, IMAGES[1]))
        assert len(covers(top)) == 2 * kernel_has_erofs()
        imgfs("rm", IMAGES[0].id)
        assert eventually(lambda: not rootfs(top).exists())
        assert len(covers(top)) == kernel_has_erofs()
        assert os.read(file, 1 << 20) == bytes(range(256)) * 1000
        os.close(file)
        imgfs("load", source)
        assert eventually(rootfs(top).exists)
        assert os.listdir(rootfs(top)) == ["bin", "etc"]
        assert len(covers(top)) == 2 * kernel_has_erofs()


def test_what_turns_out_to_be_damaged_is_not_shown_from_what_the_kernel_keeps(tmp_path: Path) -> None:
    """The layer is verified after it was first read, in the background."""
    require_root()
    top, content = tmp_path / "mnt", os.urandom(300_000)
    image = TestImage([layer_tar({"file": content}), layer_tar({"other": b"good"})])
    source = docker_archive(tmp_path / "x.tar", [image])
    source.write_bytes(source.read_bytes().replace(content, bytes(1) + content[1:]))

    def is_readable() -> bool:
        try:
            return bool((rootfs(top, image) / "file").read_bytes())
        except OSError as error:
            assert error.errno == errno.EIO
            return False

    with serving(source, top, idle=0.2) as process:
        assert is_readable()
        with (rootfs(top, image) / "file").open("rb"):  # which keeps all of it in the kernel
            for _ in range(2):  # after what was unmounted could be mounted again, too
                assert eventually(lambda: not is_readable())
                time.sleep(0.5)
            assert not is_readable()
        assert (rootfs(top, image) / "other").read_text() == "good"
        process.terminate()
        assert "failed to verify" in process.communicate()[1]


@pytest.mark.parametrize("option", ["uid=1", "gid=1", "umask=077", "noxattr"])
def test_what_only_fuse_can_show_is_shown_by_it(source: Path, tmp_path: Path, option: str) -> None:
    top = tmp_path / "mnt"
    with serving(source, top, f",{option}") as process:
        assert os.listdir(rootfs(top)) == ["bin", "etc"]
        assert covers(top) == []
        process.terminate()
        why = "it would show owners, permissions and attributes as recorded (FUSE serves all)"
        errors = process.communicate()[1]
        assert errors == f"imgfs: {top}: the kernel mounts no EROFS image: {why}\n"


def test_where_the_user_may_not_fuse_serves_and_a_line_says_so(source: Path, tmp_path: Path) -> None:
    """As root of a user namespace, who may mount FUSE there and nothing that the kernel reads itself."""
    top = tmp_path / "mnt"
    top.mkdir()
    command = [sys.executable, "-m", "imgfs", "mount", "-o", "kernel", str(source), str(top)]
    script = '"$@" && ls "$(echo "$0"/images/*/rootfs | cut -d" " -f1)" && umount "$0"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, str(top), *command], capture_output=True, text=True, check=True
    )
    assert done.stdout == "bin\netc\n"
    assert done.stderr.endswith("(FUSE serves all)\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "always", "why"),
    [
        ("ENODEV", True, "it was built without CONFIG_EROFS_FS"),
        (
            "ENOTBLK",
            False,
            "it is older than Linux 6.12, or was built without CONFIG_EROFS_FS_BACKED_BY_FILE",
        ),
    ],
)
def test_where_the_kernel_cannot_fuse_serves_and_a_line_says_why(
    source: Path, tmp_path: Path, number: str, always: bool, why: str
) -> None:
    """Said once at the beginning, or when the first image cannot be mounted."""
    top = tmp_path / "mnt"
    with serving(source, top, before=WITHOUT_EROFS.format(number=number, always=always)) as process:
        for image in IMAGES:
            assert os.listdir(rootfs(top, image)) == ["bin", "etc"]
        process.terminate()
        errors = process.communicate()[1]
    assert errors == f"imgfs: {top}: the kernel mounts no EROFS image: {why} (FUSE serves all)\n"


def test_where_the_image_cannot_be_made_fuse_serves_and_a_line_says_so(source: Path, tmp_path: Path) -> None:
    top = tmp_path / "mnt"
    broken = "from imgfs.view.trees import TreeTable; TreeTable.erofs_files = lambda self: [][0]"
    with serving(source, top, before=broken) as process:
        assert os.listdir(rootfs(top)) == ["bin", "etc"]
        assert covers(top) == []
        process.terminate()
        errors = process.communicate()[1]
    assert errors.count("\n") == 1
    assert ("internal error: IndexError" in errors) == kernel_has_erofs()


def test_a_link_to_the_mount_point_may_change(source: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    top = tmp_path / "link"
    top.symlink_to("real")
    with serving(source, top, idle=0.2):
        top.unlink()
        assert os.listdir(rootfs(tmp_path / "real")) == ["bin", "etc"]
        assert len(covers(tmp_path / "real")) == kernel_has_erofs()
        assert eventually(lambda: covers(tmp_path / "real") == [])
    assert not os.path.ismount(tmp_path / "real")


def test_a_mount_point_may_have_a_long_path(source: Path, tmp_path: Path) -> None:
    top = tmp_path / ("a" * 200) / "with, a comma"
    top.mkdir(parents=True)
    with serving(source, top):
        assert os.listdir(rootfs(top)) == ["bin", "etc"]
        assert len(covers(top)) == kernel_has_erofs()
        unmount(str(top))
