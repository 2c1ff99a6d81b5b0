"""Verifying in the background: uncompressed layers are read in place, and no reader need read all of one.

One layer at a time, in a thread that gives way to other processes by its priority, and to readers of layers by waiting
while they read. The thread has the lowest niceness but not the idle class: an idle thread that does not get to run
could hold the interpreter's lock, which the others need. Only layers that were opened are verified.
"""

import ctypes
import logging
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread, get_native_id

from imgfs.errors import Corrupt, ImgfsError, describe

logger = logging.getLogger("imgfs")

_DELAY = 0.5  # seconds after a layer was opened
# seconds without a read that the thread waits for, and seconds that it waits at most for each chunk
_QUIET, _MOST = 0.02, 0.2
_NICEST = 19
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30}  # numbers of system calls
_WHO_PROCESS, _CLASS_IDLE = 1, 3 << 13  # linux/ioprio.h

Take = Callable[[bytes | memoryview], None]


class Stopped(ImgfsError):
    """The mount is ending."""


class BackgroundVerifier:
    """Runs what it is given by `add`, one at a time. Safe to use from several threads; close it at the end."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[Callable[[Take], None]] = []
        self._is_running = False
        self._has_failed = False
        self._stopped = Event()
        self.last_read = 0.0  # set by readers of layers, in seconds of the monotonic clock

    def add(self, verify: Callable[[Take], None]) -> None:
        """Call `verify` soon, in the thread; it must call its argument between two chunks of its work."""
        with self._lock:
            self._waiting.append(verify)
            if self._is_running or self._stopped.is_set():
                return
            self._is_running = True
        try:
            Thread(target=self._run, name="imgfs verifying", daemon=True).start()
        except RuntimeError as error:  # no more threads: tried again with the next layer that is opened
            logger.debug("not verifying in the background: %s", error)
            with self._lock:
                self._is_running = False

    def has_failed(self) -> bool:
        """Whether something was found to be damaged since the last call."""
        with self._lock:
            failed, self._has_failed = self._has_failed, False
        return failed

    def close(self) -> None:
        """Stop soon."""
        self._stopped.set()

    def _run(self) -> None:
        give_way()
        while not self._stopped.wait(_DELAY):
            with self._lock:
                if not self._waiting:
                    self._is_running = False
                    return
                verify = self._waiting.pop(0)
            try:
                verify(self._between)
            except Stopped:
                return
            except Corrupt as error:
                logger.warning("%s", error)
                with self._lock:
                    self._has_failed = True
            except (ImgfsError, OSError) as error:  # raised again when the layer is read
                logger.debug("not verified: %s", describe(error))

    def _between(self, chunk: bytes | memoryview) -> None:
        latest = time.monotonic() + _MOST
        while (now := time.monotonic()) < min(self.last_read + _QUIET, latest):
            self._stopped.wait(_QUIET - max(0.0, now - self.last_read) + 0.001)
            if self._stopped.is_set():
                break
        if self._stopped.is_set():
            raise Stopped("stopped verifying")


def give_way() -> None:
    """Lower the priority of this thread, for the processor and for disks."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, get_native_id(), _NICEST)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, _WHO_PROCESS, 0, _CLASS_IDLE)
