"""What to do where something cannot be read or mounted, as errors and `imgfs doctor` say it."""

import grp
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from imgfs.errors import ImgfsError, MountError, StoreError, describe
from imgfs.sources.opening import Remedy

_FUSE = "/dev/fuse"
_SUDO_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSTALL = "apt install fuse3 on Debian and Ubuntu, dnf install fuse3 on Fedora"
CONTAINER = "in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN"


class FuseUnavailable(MountError):
    """The user cannot mount: `problem` says why, `remedy` what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} ({remedy})")
        self.problem, self.remedy = problem, remedy


def as_root(arguments: Sequence[str]) -> str:
    """The command by which root runs this program with some arguments."""
    return f"sudo {_program()} {shlex.join(arguments)}"


def mount_as_root(sources: Sequence[str], mountpoint: str = "DIR", options: str = "") -> str:
    """The command by which root mounts sources for the user who runs this."""
    given = f"{options},allow_other,uid={os.getuid()}".lstrip(",")
    return as_root(["mount", "-o", given, *sources, mountpoint])


def unshared(arguments: Sequence[str]) -> str:
    """The command that reads all files of a store of rootless Podman, in the user namespace of that store."""
    return f"podman unshare {_program()} {shlex.join(arguments)}"


def remedy(error: Exception) -> str:
    """The command by which an ordinary user reads what failed with `error`, in parentheses; empty if there is none."""
    cause = error.__cause__ or error
    if not isinstance(cause, PermissionError) or os.geteuid() == 0:
        return ""
    place = str(cause.filename or "")
    # a file of a layer is opened beneath the directory of its store, which could be read
    is_of_layer = isinstance(error.__cause__, PermissionError) and not os.path.isabs(place)
    # of another user ID in the user's own directory, as rootless engines make them
    if is_of_layer or place.startswith(os.path.expanduser("~/")):
        return f" (in a store of rootless Podman: {unshared(sys.argv[1:])})"
    return f" (as root: {as_root(sys.argv[1:])})"


@contextmanager
def explained(remedy: Remedy) -> Iterator[None]:
    """Adds to errors what can be done about them."""
    try:
        yield
    except (ImgfsError, OSError) as error:
        what = remedy(error)
        if not what:
            raise
        raise StoreError(f"{describe(error)}{what}") from None


def check_fuse() -> None:
    """Raises FuseUnavailable if this user cannot mount."""
    try:
        os.close(os.open(_FUSE, os.O_RDWR))
    except PermissionError:
        raise FuseUnavailable(f"{_FUSE}: Permission denied", _permission(_FUSE)) from None
    except OSError as error:
        raise FuseUnavailable(f"{_FUSE}: {error.strerror}", f"modprobe fuse loads it; {CONTAINER}") from None
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        path = shutil.which("fusermount3", mode=os.F_OK)
        if path is None:
            raise FuseUnavailable("fusermount3 not found", INSTALL)
        raise FuseUnavailable(f"{path}: Permission denied", _permission(path))


def _permission(path: str) -> str:
    """How a user gets permission to use a file that is for a group, or for root."""
    status = os.stat(path)
    if status.st_gid != 0 and status.st_mode & (stat.S_IWGRP | stat.S_IXGRP):
        return f"sudo usermod -aG {_group(status.st_gid)} $USER, and log in again"
    return f"sudo chmod {'666' if path == _FUSE else '4755'} {path}"


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _program() -> str:
    """A name by which root finds this program."""
    return "imgfs" if shutil.which("imgfs", path=_SUDO_PATH) else shlex.quote(os.path.abspath(sys.argv[0]))
