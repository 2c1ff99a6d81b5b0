"""The mounts that this process sees.

Format: proc_pid_mountinfo(5). Tried by the tests of unmounting.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MountEntry:
    """A mount; `number` is that of the mount, `device` is `MAJOR:MINOR` of its files, `kind` the file system."""

    number: int
    above: int
    device: str
    path: str
    kind: str
    source: str


def mounted_at(path: str) -> MountEntry | None:
    """What was mounted last at `path`, None if nothing is."""
    wanted = os.path.realpath(path)
    return next((entry for entry in reversed(mounts()) if entry.path == wanted), None)


def mounted_below(entry: MountEntry) -> list[MountEntry]:
    """What is mounted in directories of a mount."""
    return [other for other in mounts() if other.above == entry.number]


def mount_number(descriptor: int) -> int:
    """The number of the mount that an open file or directory is in."""
    return next(
        int(line.split()[1])
        for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
        if line.startswith("mnt_id:")
    )


def mounts() -> list[MountEntry]:
    """All mounts, each after the one that it is in."""
    return list(_entries())


def _entries() -> Iterator[MountEntry]:
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        number, above, device, _, path, *_ = before.split(b" ")
        kind, source = after.split(b" ")[:2]
        yield MountEntry(
            int(number), int(above), device.decode(), _unescaped(path), os.fsdecode(kind), _unescaped(source)
        )


def _unescaped(text: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), text))
