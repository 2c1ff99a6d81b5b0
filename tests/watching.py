"""Seeing which files are opened, by inotify(7)."""

import ctypes
import os
import struct
from pathlib import Path
from typing import Self

_ACCESS, _OPEN = 0x01, 0x20  # sys/inotify.h
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name


class Watch:
    """Notes what is opened or read below a directory, by any process; a context manager."""

    def __init__(self, directory: Path) -> None:
        libc = ctypes.CDLL(None)
        self._fd = libc.inotify_init1(os.O_NONBLOCK)
        self._paths = {}
        for path in (directory, *(path for path in directory.rglob("*") if path.is_dir())):
            watch = libc.inotify_add_watch(self._fd, os.fsencode(path), _ACCESS | _OPEN)
            assert watch > 0
            self._paths[watch] = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)

    def seen(self) -> set[Path]:
        """The files and directories that were opened or read since it was last asked."""
        found: set[Path] = set()
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                return found
            while data:
                watch, _, _, length = _EVENT.unpack_from(data)
                name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
                found.add(self._paths[watch] / os.fsdecode(name))
                data = data[_EVENT.size + length :]
