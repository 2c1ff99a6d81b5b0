"""Unmounting from outside, and why that is refused."""

import errno
import os
import subprocess
from contextlib import suppress

from imgfs.errors import MountError
from imgfs.mount import mount_api
from imgfs.mount.holders import holders
from imgfs.mount.kernel_mounts import is_cover
from imgfs.mount.table import MountEntry, mounted_at, mounted_below

_MOST = 10  # processes that are named


class MountBusy(MountError):
    """A mount that is in use; `reasons` has a line for each process that uses it."""

    def __init__(self, path: str, entry: MountEntry) -> None:
        super().__init__(f"{path}: target is busy (imgfs umount -l detaches it now)")
        self.reasons = _reasons(path, entry)


def unmount(path: str, *, lazy: bool = False) -> None:
    """Unmount the mount of imgfs at `path`; with `lazy` also while it is in use.

    Raises MountError if no such mount is there, MountBusy if it is in use.
    """
    entry = mounted_at(path)
    if entry is None:
        raise MountError(f"{path}: not mounted")
    if entry.kind != "fuse.imgfs":
        raise MountError(f"{path}: not mounted by imgfs, but {entry.kind}")
    if os.geteuid() == 0:
        if not lazy:
            _unmount_covers(entry)
        # -i: without a helper, which this may be
        command = ["umount", "-i", *(["-l"] if lazy else []), "--", path]
    else:
        command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", path]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=os.environ | {"LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise MountError(f"{command[0]} not found") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        why = lines[0].partition(": ")[2] if lines else f"{command[0]} failed"
        if "busy" in why:
            raise MountBusy(path, entry)
        if "not found in" in why:  # among the mounts of the user that fusermount3 unmounts for
            raise MountError(f"{path}: mounted by another user, who can unmount it, as root can")
        raise MountError(why if path in why else f"{path}: {why}")


def unmount_dead(path: str) -> None:
    """Unmount a mount of imgfs at `path` if its process is gone, with all that is mounted below.

    Raises MountError if that fails.
    """
    try:
        os.statvfs(path)
    except OSError as error:
        entry = mounted_at(path) if error.errno == errno.ENOTCONN else None
        if entry is not None and entry.kind == "fuse.imgfs":
            unmount(path, lazy=True)


def _unmount_covers(entry: MountEntry) -> None:
    """Unmount the root file systems that the kernel shows; what is in use stays, and keeps the whole mount."""
    for below in mounted_below(entry):
        if is_cover(below):
            with suppress(OSError):
                mount_api.unmount(below.path)


def _reasons(path: str, entry: MountEntry) -> list[str]:
    found, hidden = holders(entry)
    reasons = []
    for below in mounted_below(entry):
        users = holders(below)[0] if is_cover(below) else []
        found += users
        if not users:
            reasons.append(f"{path}: {below.path} is mounted below")
    for holder in found[:_MOST]:
        more = f" and {len(holder.uses) - 1} more" if len(holder.uses) > 1 else ""
        reasons.append(f"{path}: used by {holder.command} (PID {holder.pid}): {holder.uses[0]}{more}")
    if len(found) > _MOST:
        reasons.append(f"{path}: used by {len(found) - _MOST} more processes")
    if hidden and not found and os.geteuid() != 0:
        processes = f"process{'es' * (hidden != 1)} of other users"
        reasons.append(f"{path}: {hidden} {processes} cannot be looked into (root can)")
    return reasons
