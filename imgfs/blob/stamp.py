"""What tells whether files have changed since they were looked at last, without reading them."""

import os
import time
from collections.abc import Iterable

from imgfs.blob.root import Root
from imgfs.errors import StoreError

CLOCK_GRAIN_NS = 50_000_000
"""A change this soon after another may leave the same modification time."""

FileStamp = tuple[int, int, int, int]


def file_stamp(status: os.stat_result) -> FileStamp:
    """What tells a file from any other, and from itself once it was written to again."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def stamp_of(root: Root, names: Iterable[str], settled_ns: int = CLOCK_GRAIN_NS) -> tuple[object, ...]:
    """A value that changes when one of some files or directories below `root` is changed, made, replaced or removed.

    While the last change is more recent than `settled_ns` nanoseconds, it differs at every call: another change may
    follow that the times do not show. Raises OSError.
    """
    parts: list[object] = []
    times: list[int] = []
    for name in names:
        try:
            status = root.stat(name)
        except (FileNotFoundError, NotADirectoryError, StoreError):
            parts.append(None)
            continue
        times.append(status.st_mtime_ns)
        parts.append((name, file_stamp(status)))
    return (*parts, recently_modified(times, settled_ns))


def recently_modified(times: Iterable[int], settled_ns: int = CLOCK_GRAIN_NS) -> int:
    """The time now if one of some modification times is more recent than `settled_ns`, else 0; all in nanoseconds.

    Times that lie in the future do not count.
    """
    now = time.time_ns()
    return now if any(abs(now - modified) < settled_ns for modified in times) else 0
