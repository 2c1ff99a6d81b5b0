"""A mount from beginning to end: mount, serve, poll for changes, unmount, also from outside."""

import errno
import logging
import os
import signal
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import pyfuse3
import trio

from imgfs.errors import ImgfsError, MountError, describe
from imgfs.mount.kernel_mounts import KernelMounts, kernel_mounts
from imgfs.mount.operations import Operations
from imgfs.mount.options import MountOptions
from imgfs.mount.tuning import raise_limits, tuned_process
from imgfs.mount.umount import unmount_dead
from imgfs.view import Directory, Usage

logger = logging.getLogger("imgfs")

_POLL_SECONDS = 0.25
_TASKS = 1_000_000  # requests at a time; those that wait for a source that hangs must leave room for others


def serve(
    root: Directory,
    mountpoint: str,
    options: MountOptions,
    *,
    polls: Sequence[Callable[[], bool]] = (),
    vanished: Callable[[], Iterable[tuple[str, bytes]]] = lambda: (),
    damaged: Callable[[], bool] = lambda: False,
    usage: Usage | None = None,
    ready: Callable[[], None] = lambda: None,
    ended: Callable[[], None] = lambda: None,
) -> None:
    """Mount the tree below `root` and serve it until it is unmounted or SIGINT, SIGTERM or SIGHUP arrives.

    `ready` is called once the file system can be used, `ended` once it is unmounted and before open files are closed,
    which may block. Each of `polls` is called in a thread several times a second, and returns whether anything changed;
    then `vanished` is called, which returns the names that are gone or lead elsewhere, each after the key of its
    directory. `damaged` is called as often, and returns whether files were found to be damaged that may have been read
    before. `usage` is what statfs(2) shows. Raises MountError if it cannot be mounted.
    """
    check_mountpoint(mountpoint, replaces_dead=options.by_kernel)
    place = os.path.realpath(mountpoint)  # links may lead elsewhere by the time that something is unmounted
    kernel = kernel_mounts(mountpoint, place, options)
    operations = Operations(root, options, usage, kernel)

    def changed() -> None:
        operations.forget_names(vanished())

    with _captured_stderr() as messages:
        try:
            pyfuse3.init(operations, place, options.for_kernel)
        except RuntimeError as error:
            raise MountError(f"{mountpoint}: {_last_line(messages()) or error}") from None
    try:
        with tuned_process(), _without_late_replies():
            trio.run(_serve, mountpoint, polls, changed, damaged, ready, kernel)
    except BaseExceptionGroup as group:
        raise _first(group) from None
    finally:
        with _captured_stderr() as messages:  # libfuse reports an error if it is being unmounted from outside
            pyfuse3.close(unmount=True)
            logger.debug("unmounted %s %s", mountpoint, messages())
        ended()
        operations.close()
        if kernel is not None:  # umount -f may have ended it, and found it busy
            unmount_dead(place)


async def _serve(
    mountpoint: str,
    polls: Sequence[Callable[[], bool]],
    changed: Callable[[], None],
    damaged: Callable[[], bool],
    ready: Callable[[], None],
    kernel: KernelMounts | None,
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
        nursery.start_soon(_announce, mountpoint, ready)
        if kernel is not None:
            nursery.start_soon(kernel.run)
            nursery.start_soon(_poll, damaged, kernel.check_soon)
        for poll in polls:
            nursery.start_soon(_poll, poll, changed)
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


async def _poll(poll: Callable[[], bool], changed: Callable[[], None]) -> None:
    own_thread = trio.CapacityLimiter(1)  # those of the others may hang
    reported = False
    while True:
        try:
            if await trio.to_thread.run_sync(poll, abandon_on_cancel=True, limiter=own_thread):
                changed()
        except (ImgfsError, OSError) as error:
            logger.warning("%s", describe(error))
        except RuntimeError as error:  # the next one may find a thread
            if not reported:
                logger.warning("sources are not checked for changes: %s", error)
            reported = True
        await trio.sleep(_POLL_SECONDS)


def check_mountpoint(path: str, *, replaces_dead: bool = False) -> None:
    """Raises MountError unless a file system can be mounted at `path`.

    With `replaces_dead`, a mount of imgfs whose process is gone is unmounted first.
    """
    if replaces_dead:
        unmount_dead(path)
    try:
        mode = os.stat(path).st_mode
        os.statvfs(path)  # the kernel may have a stat of a dead mount cached
    except OSError as error:
        why = "is dead: unmount it first" if error.errno == errno.ENOTCONN else error.strerror
        raise MountError(f"{path}: {why}") from None
    if not stat.S_ISDIR(mode):
        raise MountError(f"{path}: not a directory")
    if os.path.ismount(path):
        raise MountError(f"{path}: busy, something is mounted there already")


@contextmanager
def _without_late_replies() -> Iterator[None]:
    """Keep pyfuse3 from logging as errors that the kernel no longer waits for a reply, as when it has unmounted."""

    def is_error(record: logging.LogRecord) -> bool:
        return "fuse_reply_" not in str(record.msg) or record.args != (os.strerror(errno.ENOENT),)

    replying = logging.getLogger("pyfuse3")
    replying.addFilter(is_error)
    try:
        yield
    finally:
        replying.removeFilter(is_error)


@contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Yields a function that returns what libfuse and fusermount3 have printed, to make one line of it."""
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
