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
    """A mount; `number` is that of the mount, `device` is `MAJOR:MINOR` of its files."""

    number: int
    above: int
    device: str
    path: str
    kind: str


def mounted_at(path: str) -> MountEntry | None:
    """What was mounted last at `path`, None if nothing is."""
    wanted = os.path.realpath(path)
    return next((entry for entry in reversed(list(_entries())) if entry.path == wanted), None)


def mounted_below(entry: MountEntry) -> list[MountEntry]:
    """What is mounted in directories of a mount."""
    return [other for other in _entries() if other.above == entry.number]


def _entries() -> Iterator[MountEntry]:
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        number, above, device, _, path, *_ = before.split(b" ")
        path = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), path)
        yield MountEntry(
            int(number), int(above), device.decode(), os.fsdecode(path), os.fsdecode(after.split(b" ")[0])
        )
