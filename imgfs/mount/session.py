"""A mount from beginning to end: mount, serve, poll, unmount."""

import errno
import gc
import logging
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyfuse3
import trio

from imgfs.errors import ImgfsError, MountError, describe
from imgfs.mount.eager import take_requests_eagerly
from imgfs.mount.operations import Operations
from imgfs.mount.options import MountOptions
from imgfs.mount.tuning import raise_limits
from imgfs.view import Directory

logger = logging.getLogger("imgfs")

_POLL_SECONDS = 0.25
_TASKS = 1_000_000  # requests at a time; those that wait for a source that hangs must not keep others out


def serve(
    root: Directory,
    mountpoint: str,
    options: MountOptions,
    *,
    polls: Sequence[Callable[[], object]] = (),
    ready: Callable[[], None] = lambda: None,
    ended: Callable[[], None] = lambda: None,
) -> None:
    """Mount the tree below `root` and serve it until it is unmounted, by whoever, or a signal says to.

    `ready` is called once the file system answers, `ended` once it is unmounted and what is open is to be closed, which
    may block. Each of `polls` is called in a thread several times a second.
    Raises MountError if it cannot be mounted.
    """
    _check_mountpoint(mountpoint)
    _check_fuse()
    operations = Operations(root, options)
    with _captured_stderr() as messages:
        try:
            pyfuse3.init(operations, mountpoint, options.for_kernel)
        except RuntimeError as error:
            raise MountError(f"{mountpoint}: {_last_line(messages()) or error}") from None
    take_requests_eagerly()
    gc.freeze()  # what is imported stays; looking through it for garbage again and again would cost 4 %
    try:
        trio.run(_serve, mountpoint, polls, ready)
    except BaseExceptionGroup as group:
        raise _first(group) from None
    finally:
        pyfuse3.close(unmount=True)
        ended()
        operations.close()


async def _serve(mountpoint: str, polls: Sequence[Callable[[], object]], ready: Callable[[], None]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
        nursery.start_soon(_announce, mountpoint, ready)
        for poll in polls:
            nursery.start_soon(_poll, poll)
        await pyfuse3.main(max_tasks=_TASKS)
        nursery.cancel_scope.cancel()


def _first(error: BaseException) -> BaseException:
    """The error that a group of errors began with."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            scope.cancel()


async def _announce(mountpoint: str, ready: Callable[[], None]) -> None:
    await trio.to_thread.run_sync(raise_limits, mountpoint, abandon_on_cancel=True)
    ready()


async def _poll(poll: Callable[[], object]) -> None:
    alone = trio.CapacityLimiter(1)  # as others may hang
    told = False
    while True:
        try:
            await trio.to_thread.run_sync(poll, abandon_on_cancel=True, limiter=alone)
        except (ImgfsError, OSError) as error:
            logger.warning("%s", describe(error))
        except RuntimeError as error:  # the next one may find a thread
            if not told:
                logger.warning("changes are not looked for: %s", error)
            told = True
        await trio.sleep(_POLL_SECONDS)


def _check_mountpoint(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
        os.statvfs(path)  # a dead mount may have answered the stat from the kernel's memory
    except OSError as error:
        why = "is dead: unmount it first" if error.errno == errno.ENOTCONN else error.strerror
        raise MountError(f"{path}: {why}") from None
    if not stat.S_ISDIR(mode):
        raise MountError(f"{path}: not a directory")
    if os.path.ismount(path):
        raise MountError(f"{path}: busy, something is mounted there already")


def _check_fuse() -> None:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        raise MountError(f"/dev/fuse: {error.strerror} (is FUSE available here?)") from None
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        raise MountError("fusermount3 not found (install the package fuse3)")


@contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """What libfuse and fusermount3 print, for one line of our own."""
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)

        def messages() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield messages
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].removeprefix("fuse: ").removeprefix("fusermount3: ") if lines else ""
