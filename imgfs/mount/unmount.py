"""Unmounting from outside."""

import os
import subprocess

from imgfs.errors import MountError


def unmount(path: str, *, lazy: bool = False) -> None:
    """Unmount what is mounted at `path`; `lazy` takes it out of the tree even while it is in use.

    Raises MountError if nothing is mounted there, or it is busy.
    """
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
