"""Stamps of files, by which changes are noticed without reading them."""

import os
import struct
import time
from collections.abc import Iterable
from typing import NamedTuple

CLOCK_GRAIN_NS = 50_000_000
"""Two changes within this time may leave the same modification time, where file systems keep nanoseconds."""
_COARSE_GRAIN_NS = 2_000_000_000  # the same for any file system
_MILLISECOND_NS = 1_000_000


class FileStamp(NamedTuple):
    """What differs between two files, and between one before and after it is written to; times in nanoseconds."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileStamp":
        """The stamp of the file with this status."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def packed(self) -> bytes:
        """The same in little memory."""
        return struct.pack("2Q3q", *self)

    @property
    def is_recent(self) -> bool:
        """Whether the file was changed so recently that it may change again and keep its stamp."""
        return recently_modified([self.ctime_ns], _COARSE_GRAIN_NS) != 0

    @property
    def settles_in(self) -> float:
        """Seconds until any further change gives the file another stamp; 0 if that is so already."""
        # whole milliseconds are a sign of a file system with coarse times, and else nearly never seen
        grain = CLOCK_GRAIN_NS if self.ctime_ns % _MILLISECOND_NS else _COARSE_GRAIN_NS
        passed = time.time_ns() - self.ctime_ns
        return (grain - passed) / 1e9 if -grain < passed < grain else 0.0


def recently_modified(times: Iterable[int], settled_ns: int = CLOCK_GRAIN_NS) -> int:
    """The time now if one of some modification times is more recent than `settled_ns`, else 0; all in nanoseconds.

    Times that lie in the future do not count.
    """
    now = time.time_ns()
    return now if any(abs(now - modified) < settled_ns for modified in times) else 0
