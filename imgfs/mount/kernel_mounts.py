"""Root file systems that the kernel shows itself: when a directory is first used, an EROFS image of it is mounted
there, as by an automounter.

The files of the image are files of the mount, in a directory that is not listed, so what the kernel reads of them are
the requests of any reader. A layer is one file whatever images have it: the kernel caches its pages once.

Looking up the directory has it covered, so that a stat shows the file system that it will be in: `find -xdev` and
os.fwalk() compare that. If there are many, or layers have to be fetched first, only looking into it does.

A request that needs the directory waits for the mount and then fails with ESTALE, on which the kernel walks the path
again, and into what is mounted by now. Only requests that come before do: later ones are by processes that were in the
directory already, or that see another tree of mounts, and are replied to as always. What is mounted is unmounted when
no process has used it for half a minute to a minute, and with the whole tree.

Mounting takes the lock of the directory. A look-up in it holds that lock, so it does not wait for the mount, and a
look-up of the directory's own name does not wait for long.
"""

import errno
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import get_native_id
from typing import TypeVar, TypeVarTuple

import pyfuse3
import trio

from imgfs.errors import Corrupt, ImgfsError, describe
from imgfs.mount import mount_api
from imgfs.mount.backing_files import BACKING, BackingFiles
from imgfs.mount.holders import command
from imgfs.mount.mount_api import Attribute, Unmount
from imgfs.mount.options import MountOptions
from imgfs.mount.table import MountEntry, mount_number, mounted_at, mounts
from imgfs.mount.tuning import raise_read_ahead
from imgfs.view import Node, NodeTable

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

logger = logging.getLogger("imgfs")

_PATIENCE = 2.0  # seconds that a request waits; FUSE replies to those that would wait longer
_IDLE_SECONDS = 30.0
_MOST_LOOKED_UP = 32  # directories covered at a time that only a stat may have asked for
_THREADS = 4
_UNABLE = {
    errno.EPERM: "Operation not permitted",
    errno.ENOSYS: "it is older than Linux 5.2",
    errno.ENODEV: "it was built without CONFIG_EROFS_FS",
    errno.ENOTBLK: "it is older than Linux 6.12, or was built without CONFIG_EROFS_FS_BACKED_BY_FILE",
}
"""What mounting any image fails with, and why."""


@dataclass(slots=True)
class _Cover:
    """What covers a directory, or will; `number` is that of the mount, None if there is none."""

    table: NodeTable
    finished: trio.Event = field(default_factory=trio.Event)
    number: int | None = None


def is_cover(entry: MountEntry) -> bool:
    """Whether a mount below one of imgfs is one that `KernelMounts` made."""
    return entry.kind == "erofs" and f"/{BACKING.decode()}/" in entry.source


def kernel_mounts(mountpoint: str, place: str, options: MountOptions) -> "KernelMounts | None":
    """What `options` ask for; None if that is nothing, or nothing that the kernel can do, which is logged.

    `place` is where the mount point is, without links.
    """
    if not options.by_kernel:
        return None
    why = ""
    if options.changes_attributes:
        why = "it would show owners, permissions and attributes as recorded"
    else:
        try:
            os.close(mount_api.new_mount("erofs"))
        except OSError as error:  # there is no image, which is the last thing that it complains of
            why = _UNABLE.get(error.errno or 0, "")
    if why:
        logger.warning("%s: the kernel mounts no EROFS image: %s (FUSE serves all)", mountpoint, why)
        return None
    return KernelMounts(place, options)


class KernelMounts:
    """The mounts below one mount of imgfs, at `mountpoint`. Only the event loop uses it."""

    def __init__(self, mountpoint: str, options: MountOptions) -> None:
        self.backing = BackingFiles()
        self._mountpoint = mountpoint
        self._attributes = Attribute.RDONLY | Attribute.NOSUID | Attribute.NODEV
        if options.noexec:
            self._attributes |= Attribute.NOEXEC
        self._covers: dict[str, _Cover] = {}
        self._unable = False
        self._nursery: trio.Nursery | None = None
        self._threads = trio.CapacityLimiter(_THREADS)
        self._is_lazy = bool(options.lazy_size)
        self._walking = set[int]()
        """Threads that look for the directory which they cover."""

    async def run(self) -> None:
        """Mount what is asked for, and unmount what is idle, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            while True:
                await trio.sleep(_IDLE_SECONDS)
                await self._unmount(Unmount.EXPIRE)

    async def make_way(self, process: int) -> None:
        """Unmount what is not in use if a process is umount(8).

        It asks for statfs(2) of the tree that it is to unmount, and the kernel unmounts none that has mounts in it.
        """
        if self._covers and command(process) == "umount":
            with trio.move_on_after(_PATIENCE):
                await self._unmount(Unmount.NOFOLLOW)

    async def enter(self, node: Node) -> None:
        """Have a directory covered that can be and is not, then raise ESTALE."""
        cover, _ = self._cover(node)
        if cover is None or cover.finished.is_set():
            return
        with trio.move_on_after(_PATIENCE):
            await cover.finished.wait()
        if cover.number is not None:
            raise pyfuse3.FUSEError(errno.ESTALE)

    def enter_soon(self, node: Node) -> None:
        """Do the same without waiting: raise ESTALE if covering begins now."""
        _, is_new = self._cover(node)
        if is_new:
            raise pyfuse3.FUSEError(errno.ESTALE)

    async def pass_by(self, node: Node, thread: int, *, is_known: bool) -> None:
        """Have a directory covered that a thread looks up, so that a stat shows what it will be in.

        If the kernel does not know the directory yet, raise ESTALE: it looks up all of the path again, and
        meanwhile one of the threads here makes it known. All wait for that but this thread.
        """
        if thread in self._walking:
            return
        if len(self._covers) < _MOST_LOOKED_UP and not self._is_lazy:
            _, is_new = self._cover(node)
            if is_new and not is_known:
                raise pyfuse3.FUSEError(errno.ESTALE)
        if _place(node) is not None and not is_known:
            return  # waiting would keep that thread from making it known
        name = _place(node) or node.key
        pending = [
            cover
            for place, cover in self._covers.items()
            if not cover.finished.is_set() and (place == name or place.startswith(f"{name}/"))
        ]
        with trio.move_on_after(_PATIENCE):
            for cover in pending:
                await cover.finished.wait()

    def is_covered(self, node: Node) -> bool:
        """Whether the kernel shows a directory itself."""
        cover = self._covers.get(_place(node) or "")
        return cover is not None and cover.number is not None

    def forget(self, key: str, name: bytes) -> None:
        """Take note that a name in the directory with a key is gone: the kernel unmounts what covers anything in it."""
        gone = f"{key}/{os.fsdecode(name)}/"
        for place in [place for place in self._covers if place.startswith(gone)]:
            del self._covers[place]

    def check_soon(self) -> None:
        """Unmount images of layers that are damaged, even while they are in use: the kernel keeps what it has read."""
        if self._nursery is not None:
            for place, cover in self._covers.items():
                self._nursery.start_soon(self._check, place, cover)

    async def _check(self, place: str, cover: _Cover) -> None:
        await cover.finished.wait()
        if cover.number is not None:
            try:
                await self._in_thread(cover.table.erofs_files)  # which raises Corrupt for those
            except Corrupt as error:
                with suppress(OSError, RuntimeError):  # a user has unmounted it, or no thread is left
                    await self._in_thread(mount_api.unmount, self._mountpoint + place, Unmount.DETACH)
                cover.number = None
                self._report(place, error)
            except Exception as error:  # as in _finish
                logger.debug("%s: not checked", place, exc_info=error)

    def _cover(self, node: Node) -> tuple[_Cover | None, bool]:
        """What covers a directory or will, None if nothing can; and whether that begins now."""
        place = _place(node)
        if place is None or node.table is None or self._nursery is None:
            return None, False
        cover = self._covers.get(place)
        if cover is not None or self._unable:
            return cover, False
        cover = self._covers[place] = _Cover(node.table)
        self._nursery.start_soon(self._finish, place, cover)
        return cover, True

    async def _finish(self, place: str, cover: _Cover) -> None:
        try:
            cover.number = await self._in_thread(self._mount, cover.table, self._mountpoint + place)
        except Exception as error:  # raised further, it would end the whole mount
            self._report(place, error)
        finally:
            cover.finished.set()

    def _report(self, place: str, error: Exception) -> None:
        if self._unable:
            return
        if isinstance(error, OSError) and error.errno in _UNABLE:
            self._unable = True
            place, why = self._mountpoint, f"{_UNABLE[error.errno]} (FUSE serves all)"
        elif isinstance(error, (ImgfsError, OSError, RuntimeError)):
            why = f"{describe(error)} (FUSE serves it)"
        else:
            why = f"internal error: {error!r} (FUSE serves it)"
            logger.debug("%s", place, exc_info=error)
        logger.warning("%s: the kernel mounts no EROFS image: %s", place, why)

    def _mount(self, table: NodeTable, path: str) -> int:
        """Mount the image of a table; returns the number of the mount. Raises ImgfsError or OSError."""
        with self.backing.offering(table.erofs_files()) as names, self._way(max(map(len, names))) as way:
            metadata, *devices = (f"{way}{name}" for name in names)
            settings = [("source", metadata), *(("device", device) for device in devices)]
            mount = mount_api.new_mount("erofs", settings, self._attributes)
        try:
            raise_read_ahead(os.fstat(mount).st_dev)
            self._attach(mount, path)
            return mount_number(mount)
        finally:
            os.close(mount)

    @contextmanager
    def _way(self, longest: int) -> Iterator[str]:
        """Yields what leads to the backing files, whose names have so many characters at most, in as many as may be."""
        way = f"{self._mountpoint}/{BACKING.decode()}/"
        if len(os.fsencode(way)) + longest <= mount_api.LONGEST:
            yield way
            return
        top = os.open(self._mountpoint, os.O_PATH | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{top}/{BACKING.decode()}/"
        finally:
            os.close(top)

    def _attach(self, mount: int, path: str) -> None:
        """Attach a mount at a path, unless that leads to something else by now."""
        self._walking.add(get_native_id())
        try:
            directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        finally:
            self._walking.remove(get_native_id())
        try:
            top = mounted_at(self._mountpoint)
            if top is None or mount_number(directory) != top.number:
                raise OSError(errno.EBUSY, "something else is mounted there", path)
            mount_api.attach(mount, directory)
        finally:
            os.close(directory)

    async def _unmount(self, how: Unmount) -> None:
        """Unmount what can be, with EXPIRE if it was not used since the last time."""
        with suppress(OSError, RuntimeError):  # too many files or threads: tried again
            for place, cover in await self._in_thread(self._gone, list(self._covers.items()), how):
                if self._covers.get(place) is cover:
                    del self._covers[place]

    def _gone(self, covers: Sequence[tuple[str, _Cover]], how: Unmount) -> list[tuple[str, _Cover]]:
        """Unmount what can be; returns those that are not mounted now."""
        entries = mounts()
        present = {entry.number for entry in entries if is_cover(entry)} - {entry.above for entry in entries}
        gone = []
        for place, cover in covers:
            if not cover.finished.is_set():
                continue
            if cover.number in present:
                try:
                    mount_api.unmount(self._mountpoint + place, how)
                except OSError as error:
                    # it is or was used; with EINVAL, another mount has its number by now
                    if error.errno != errno.EINVAL:
                        continue
            gone.append((place, cover))
        return gone

    async def _in_thread(self, work: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        return await trio.to_thread.run_sync(work, *arguments, abandon_on_cancel=True, limiter=self._threads)


def _place(node: Node) -> str | None:
    """Where the directory that a node is can be covered, None if it cannot."""
    return node.table.place if node.table is not None and node.number == 0 else None
