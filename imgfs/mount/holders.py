"""Which processes keep a mount busy, found in /proc as fuser(1) does, without a request to the file system.

Format: proc_pid_cwd(5), proc_pid_fdinfo(5), proc_pid_maps(5). Tried by the tests of unmounting.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imgfs.mount.table import MountEntry


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that uses files of a mount: `uses` has a path each, with how it is used."""

    pid: int
    command: str
    uses: list[str]


def holders(entry: MountEntry) -> tuple[list[Holder], int]:
    """The other processes that hold a mount, and how many more there are that this user may not look into."""
    found: list[Holder] = []
    hidden = 0
    for name in filter(str.isdecimal, os.listdir("/proc")):
        if name == str(os.getpid()):
            continue
        uses: dict[str, None] = {}
        try:
            for use in _uses(f"/proc/{name}", entry):
                uses[use] = None
        except PermissionError:
            hidden += 1
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended
        if uses:
            found.append(Holder(int(name), command(int(name)), list(uses)))
    return found, hidden


def _uses(process: str, entry: MountEntry) -> Iterator[str]:
    for name, what in (("cwd", "working directory"), ("root", "root directory")):
        path = os.readlink(f"{process}/{name}")
        if _mount_of(f"{process}/{name}") == entry.number:
            yield f"{what} {path}"
    for name in os.listdir(f"{process}/fd"):
        try:
            if _mount_number(f"{process}/fdinfo/{name}") == entry.number:
                yield os.readlink(f"{process}/fd/{name}")
        except FileNotFoundError:
            continue  # closed
    for line in Path(f"{process}/maps").read_text(errors="surrogateescape").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and _device(fields[3]) == entry.device:
            yield fields[5]


def _mount_of(link: str) -> int | None:
    """The number of the mount that a link of /proc leads into."""
    fd = os.open(link, os.O_PATH | os.O_CLOEXEC)
    try:
        return _mount_number(f"/proc/self/fdinfo/{fd}")
    finally:
        os.close(fd)


def _mount_number(fdinfo: str) -> int | None:
    lines = Path(fdinfo).read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("mnt_id:")), None)


def _device(text: str) -> str:
    """A device as mountinfo has it, from one in hexadecimal digits as maps has it."""
    major, _, minor = text.partition(":")
    return f"{int(major, 16)}:{int(minor, 16)}"


def command(pid: int) -> str:
    """The name of what a process runs."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
    except OSError:
        return "ended"
