"""Unmounting from outside."""

import os
import re
import subprocess
from pathlib import Path

from imgfs.errors import MountError


def unmount(path: str, *, lazy: bool = False) -> None:
    """Unmount what is mounted at `path`; `lazy` takes it out of the tree even while it is in use.

    Raises MountError if nothing of imgfs is mounted there, or it is busy.
    """
    kind = _kind(path)
    if kind not in (None, "fuse.imgfs"):
        raise MountError(f"{path}: not mounted by imgfs, but {kind}")
    if os.geteuid() == 0:
        command = ["umount", *(["-l"] if lazy else []), "--", path]
    else:
        command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", path]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise MountError(f"{command[0]} not found") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        why = lines[0].partition(": ")[2] if lines else f"{command[0]} failed"
        raise MountError(why if path in why else f"{path}: {why}")


def _kind(path: str) -> str | None:
    """The type of the file system mounted last at `path`, None if there is none.

    Format: proc_pid_mountinfo(5).
    """
    place = os.fsencode(os.path.realpath(path))
    kind = None
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        mountpoint = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), before.split(b" ")[4])
        if mountpoint == place:
            kind = os.fsdecode(after.split(b" ")[0])
    return kind
