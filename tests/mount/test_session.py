"""A tree of plain nodes, mounted for real."""

import errno
import logging
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgfs.errors import MountError
from imgfs.mount import unmount
from imgfs.mount.session import _without_late_replies
from tests.conftest import eventually
from tests.mount.serving import DEEP, TEXT, WIDE, served, start
from tests.tools import require_root

NAMES = [f"file-{number:06}" for number in range(WIDE)]


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tree, mounted once for the tests that only look."""
    path = tmp_path_factory.mktemp("mnt")
    with served(path):
        yield path


def test_the_tree_is_seen_as_it_is(top: Path) -> None:
    assert sorted(os.listdir(top)) == ["deep", "empty", "link", "text", "wide"]
    assert os.listdir(top / "empty") == []
    assert (top / "link").read_bytes() == (top / "text").read_bytes() == TEXT
    assert (top / ("deep" + "/d" * DEEP) / "end").read_bytes() == b"end"
    assert not (top / "absent").exists()
    assert (top / "text/").stat().st_mode == stat.S_IFREG | 0o444


def test_a_directory_that_does_not_fit_one_reply_is_listed_whole_and_in_order(top: Path) -> None:
    assert os.listdir(top / "wide") == NAMES
    with os.scandir(top / "wide") as entries:
        assert all(entry.is_file(follow_symlinks=False) for entry in entries)


def test_a_listing_has_the_inode_numbers_of_stat(top: Path) -> None:
    with os.scandir(top) as entries:
        for entry in entries:
            assert entry.inode() == os.lstat(entry.path).st_ino


def test_a_listing_can_be_taken_up_anywhere(top: Path) -> None:
    """Programs that read a directory bit by bit, going back and forth."""
    code = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("len", ctypes.c_uint16),
                ("type", ctypes.c_uint8), ("name", ctypes.c_char * 256)]
libc.opendir.restype = ctypes.c_void_p
libc.readdir64.restype, libc.readdir64.argtypes = ctypes.POINTER(Dirent), [ctypes.c_void_p]
libc.telldir.restype, libc.telldir.argtypes = ctypes.c_long, [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
folder = libc.opendir(sys.argv[1].encode())
names, places = [], []
while True:
    places.append(libc.telldir(folder))
    entry = libc.readdir64(folder)
    if not entry:
        break
    names.append(entry.contents.name)
for place in (15_000, 3, 8_000, 0, len(names) - 1):
    libc.seekdir(folder, places[place])
    assert libc.readdir64(folder).contents.name == names[place], place
print(len(names))
"""
    done = subprocess.run([sys.executable, "-c", code, top / "wide"], capture_output=True, check=False)
    assert done.stderr == b""
    assert int(done.stdout) == WIDE + 2


def test_many_list_and_look_at_once_while_the_kernel_forgets(top: Path) -> None:
    done = threading.Event()

    def forget() -> None:
        while not done.wait(0.2):
            if os.geteuid() == 0:  # no other user may
                Path("/proc/sys/vm/drop_caches").write_text("2")

    def look(seed: int) -> None:
        rng = random.Random(seed)
        for name in rng.sample(NAMES, 300):
            assert (top / "wide" / name).read_bytes() == name.encode()

    forgetter = threading.Thread(target=forget)
    forgetter.start()
    try:
        with ThreadPoolExecutor(6) as pool:
            listings = [pool.submit(os.listdir, top / "wide") for _ in range(3)]
            looks = [pool.submit(look, seed) for seed in range(3)]
            assert all(len(listing.result()) == WIDE for listing in listings)
            assert all(look.result() is None for look in looks)
    finally:
        done.set()
        forgetter.join()


CHANGES: dict[str, Callable[[Path, Path], object]] = {
    "make a directory": lambda top, text: (top / "new").mkdir(),
    "remove a directory": lambda top, text: (top / "empty").rmdir(),
    "remove a file": lambda top, text: text.unlink(),
    "rename": lambda top, text: text.rename(top / "new"),
    "link": lambda top, text: (top / "new").hardlink_to(text),
    "link symbolically": lambda top, text: (top / "new").symlink_to("text"),
    "make a file": lambda top, text: os.open(top / "new", os.O_CREAT | os.O_RDONLY),
    "make a nameless file": lambda top, text: os.open(top, os.O_TMPFILE | os.O_RDWR),
    "make a pipe": lambda top, text: os.mkfifo(top / "new"),
    "make a node": lambda top, text: os.mknod(top / "new", stat.S_IFREG | 0o600),
    "make a socket": lambda top, text: _bind(top / "new"),
    "open for writing": lambda top, text: os.open(text, os.O_WRONLY),
    "open for both": lambda top, text: os.open(text, os.O_RDWR),
    "open to append": lambda top, text: os.open(text, os.O_WRONLY | os.O_APPEND),
    "open to empty": lambda top, text: os.open(text, os.O_RDONLY | os.O_TRUNC),
    "truncate": lambda top, text: os.truncate(text, 0),
    "change permissions": lambda top, text: text.chmod(0o777),
    "change a directory's permissions": lambda top, text: top.chmod(0o777),
    "change the owner": lambda top, text: os.chown(text, os.geteuid(), os.getegid()),
    "change times": lambda top, text: os.utime(text),
    "set an attribute": lambda top, text: os.setxattr(text, "user.x", b"value"),
    "remove an attribute": lambda top, text: os.removexattr(text, "user.x"),
    "remount": lambda top, text: _fail_unless_writable(text),
}


def _bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))


def _fail_unless_writable(path: Path) -> None:
    if not os.access(path, os.W_OK):
        raise OSError(errno.EROFS, "not writable")


@pytest.mark.parametrize("change", CHANGES)
def test_every_attempt_to_change_anything_is_erofs(top: Path, change: str) -> None:
    with pytest.raises(OSError) as caught:
        CHANGES[change](top, top / "text")
    assert caught.value.errno == errno.EROFS


def test_it_is_mounted_read_only_with_nothing_that_gives_rights(top: Path) -> None:
    (line,) = [line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {top} " in line]
    source, _, kind, options, *_ = line.split()
    assert (source, kind) == ("imgfs", "fuse.imgfs")
    assert {"ro", "nosuid", "nodev"} <= set(options.split(","))
    assert "allow_other" not in options


def test_options_show_in_stat(tmp_path: Path) -> None:
    with served(tmp_path, "uid=12,gid=34,umask=077,noexec,fsname=my images"):
        status = os.stat(tmp_path)
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12, 34, 0o500)
        assert "my\\040images " in Path("/proc/self/mounts").read_text()
        assert os.statvfs(tmp_path).f_flag & os.ST_NOEXEC


def test_two_mounts_do_not_meet(top: Path, tmp_path: Path) -> None:
    with served(tmp_path):
        assert (tmp_path / "text").read_bytes() == TEXT
        assert os.stat(tmp_path).st_dev != os.stat(top).st_dev
    assert (top / "text").read_bytes() == TEXT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unmounts(tmp_path: Path, number: int) -> None:
    with served(tmp_path) as process:
        process.send_signal(number)
        assert process.wait(60) == 0
        assert not os.path.ismount(tmp_path)


def test_a_signal_unmounts_what_is_in_use_and_its_users_get_an_error(tmp_path: Path) -> None:
    with served(tmp_path) as process:
        folder = os.open(tmp_path, os.O_RDONLY)
        try:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert not os.path.ismount(tmp_path)
            with pytest.raises(OSError) as caught:
                os.listdir(folder)
            assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
        finally:
            os.close(folder)


@pytest.mark.parametrize(
    "command", [["fusermount3", "-u"], ["umount"]] if os.geteuid() == 0 else [["fusermount3", "-u"]]
)
def test_unmounting_ends_the_process(tmp_path: Path, command: list[str]) -> None:
    with served(tmp_path) as process:
        subprocess.run([*command, tmp_path], check=True)
        assert process.wait(60) == 0


def _refusal(top: Path) -> str:
    command = [sys.executable, "-m", "tests.mount.serving", str(top), ""]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_where_nothing_can_be_mounted_is_said_in_a_line(top: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert _refusal(tmp_path / "absent") == f"{tmp_path}/absent: No such file or directory\n"
    assert _refusal(tmp_path / "file") == f"{tmp_path}/file: not a directory\n"
    assert _refusal(top) == f"{top}: busy, something is mounted there already\n"


def test_a_dead_mount_is_called_dead_and_can_be_unmounted(tmp_path: Path) -> None:
    """Also while the kernel still has a stat of it cached."""
    with start(tmp_path) as process:
        os.stat(tmp_path)
        process.kill()
    try:
        assert eventually(lambda: _is_dead(tmp_path))
        assert _refusal(tmp_path) == f"{tmp_path}: is dead: unmount it first\n"
    finally:
        unmount(str(tmp_path))
    with served(tmp_path):
        assert (tmp_path / "text").read_bytes() == TEXT


def test_unmounting_from_outside_ends_the_process(tmp_path: Path) -> None:
    top = tmp_path / "a place\twith \\ in it"
    top.mkdir()
    with served(top) as process:
        unmount(str(top))
        assert process.wait(60) == 0
    with pytest.raises(MountError, match=r"not mounted|not found"):
        unmount(str(top))


def test_what_is_in_use_is_unmounted_only_lazily(tmp_path: Path) -> None:
    with served(tmp_path) as process:
        folder = os.open(tmp_path, os.O_RDONLY)
        try:
            with pytest.raises(MountError, match=f"{tmp_path}: .*busy"):
                unmount(str(tmp_path))
            assert os.path.ismount(tmp_path)
            unmount(str(tmp_path), lazy=True)
            assert not os.path.ismount(tmp_path)
            assert os.listdir(folder)
        finally:
            os.close(folder)
        assert process.wait(60) == 0


def test_that_the_kernel_waits_for_no_reply_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    said = "fuse_release(): fuse_reply_* failed with %s"  # by pyfuse3
    with _without_late_replies():
        logging.getLogger("pyfuse3").error(said, os.strerror(errno.ENOENT))
        logging.getLogger("pyfuse3").error(said, os.strerror(errno.EIO))
    assert caplog.messages == [said % os.strerror(errno.EIO)]


def test_what_another_program_mounted_is_not_unmounted(tmp_path: Path) -> None:
    require_root()
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    try:
        with pytest.raises(MountError, match=f"{tmp_path}: not mounted by imgfs, but tmpfs"):
            unmount(str(tmp_path))
        assert os.path.ismount(tmp_path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def _is_dead(path: Path) -> bool:
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False
