"""What the kernel asks, translated to what nodes answer, and nothing else.

What is in memory is answered in place. Whatever may touch a file of a source or of the cache is done by the workers
of the source that it is for: the event loop never blocks. Reading, opening and closing are first tried in place.
"""

import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import wraps
from itertools import count
from typing import NoReturn, TypeVar

import pyfuse3
import trio

from imgfs.blob import Blob
from imgfs.errors import ImgfsError
from imgfs.mount.attributes import Attributes
from imgfs.mount.failures import Failures
from imgfs.mount.inodes import Inodes
from imgfs.mount.listing import Listing, listing, shown_size
from imgfs.mount.options import MountOptions
from imgfs.mount.workers import Workers
from imgfs.view import Directory, File, Node, NodeTable, Symlink

_NAME_MAX = 255
_SMALL = 128 << 10  # bytes

T = TypeVar("T")


class Operations(pyfuse3.Operations):
    """The tree below `root`, read-only."""

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, root: Directory, options: MountOptions) -> None:
        super().__init__()
        self._attributes = Attributes(options)
        self._lazy_size = options.lazy_size
        self._inodes = Inodes(root)
        self._failures = Failures()
        self._workers = Workers(self._failures)
        self._handles = count(1)
        self._files: dict[int, tuple[Blob, Node]] = {}
        self._directories: dict[int, Listing] = {}
        self._settling: dict[int, trio.Event] = {}

    def close(self) -> None:
        """Close what is still open. May block."""
        for blob, _ in self._files.values():
            blob.close()
        self._files.clear()
        self._directories.clear()

    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        if len(name) > _NAME_MAX:
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        parent = await self._node(parent_inode)
        node = None
        if isinstance(parent, Directory):
            node = self._in_place(parent, lambda: parent.lookup(name))
        if node is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._told(node, self._inodes.remember(node), fleeting=parent.mutable)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for number, times in inode_list:
            self._inodes.forget(number, times)

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        held = self._inodes[inode]
        if isinstance(held, NodeTable) and self._lazy_size and self._inodes.number(held.top()) == inode:
            return self._told(held.top(), inode)
        node = await self._node(inode)
        if isinstance(node, File) and node.known_size is None:
            return self._attributes.of(node, inode, await self._size(node))
        return self._told(node, inode)

    async def _size(self, node: File) -> int | None:
        """A size that is not in memory: the exact one, or if it may be lazy the recorded one, None without."""
        if self._lazy_size:
            return await self._workers.run(node, node.look_for_size)
        try:
            return await self._workers.run(node, node.find_size, waits=True)
        except pyfuse3.FUSEError as error:
            blob = self._open_blob(node)
            if error.errno != errno.ENOENT or blob is None:
                raise
            # a program that has open what was removed by now reads on, and so can learn its size
            return await self._workers.run(node, lambda: blob.size, waits=True)

    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        node = await self._node(inode)
        if not isinstance(node, Symlink):
            raise pyfuse3.FUSEError(errno.EINVAL)
        return node.target

    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        node = await self._node(inode)
        if not isinstance(node, Directory):
            raise pyfuse3.FUSEError(errno.ENOTDIR)
        entries = self._in_place(node, lambda: listing(node, self._inodes, self._attributes))
        handle = next(self._handles)
        self._directories[handle] = entries
        return handle

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        self._directories[fh].reply(start_id, token)

    async def releasedir(self, fh: int) -> None:
        del self._directories[fh]

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        node = await self._node(inode)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise pyfuse3.FUSEError(errno.EROFS)
        if not isinstance(node, File):
            raise pyfuse3.FUSEError(errno.EINVAL)
        size = None if node.mutable else node.known_size
        blob = self._in_place(node, node.try_open)
        if blob is None:
            blob = await self._workers.run(node, node.open)
        waits = not (node.mutable or self._lazy_size)
        if (size is None and waits) or (size is not None and inode in self._attributes.unsettled):
            try:
                size = await self._settle_size(inode, node, blob)
            except pyfuse3.FUSEError:
                await self._close(node, blob)
                raise
        if size is not None and size <= _SMALL and self._inodes.give(inode):
            _push(inode, size, blob)
        handle = next(self._handles)
        self._files[handle] = (blob, node)
        direct = size is None  # one that is not final must not cut reads off
        return pyfuse3.FileInfo(fh=handle, direct_io=direct, keep_cache=not direct)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        blob, node = self._files[fh]
        try:
            data = blob.try_pread(size, off)
        except Exception as error:
            raise self._failures.translate(error, node) from None
        return await self._workers.run(node, blob.pread, size, off) if data is None else data

    async def flush(self, fh: int) -> None:
        raise pyfuse3.FUSEError(errno.ENOSYS)  # so that the kernel never asks again

    async def release(self, fh: int) -> None:
        blob, node = self._files.pop(fh)
        await self._close(node, blob)

    async def _close(self, node: Node, blob: Blob) -> None:
        if not blob.try_close():
            await self._workers.run(node, blob.close)

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = 4096
        data.f_blocks = data.f_bfree = data.f_bavail = 0
        data.f_files = data.f_ffree = data.f_favail = 0
        data.f_namemax = _NAME_MAX
        return data

    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        value = (await self._node(inode)).xattrs.get(name)
        if value is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return value

    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        return list((await self._node(inode)).xattrs)

    async def _node(self, inode: int) -> Node:
        """The node with a number, its table loaded first if need be."""
        while isinstance(held := self._inodes[inode], NodeTable):
            await self._workers.run(held, held.load)
        return held

    def _told(self, node: Node, number: int, *, fleeting: bool = False) -> pyfuse3.EntryAttributes:
        return self._attributes.of(node, number, shown_size(node), fleeting=fleeting)

    async def _settle_size(self, inode: int, node: File, blob: Blob) -> int:
        """The size of what is being opened, and the kernel asks for it anew.

        It was told that there is none yet, as by a listing, and what it was told last may reach it at any time: asking
        only when it reads, it could take the older answer for the newer, and the file would end at 0. So it is made to
        ask, once, before anybody can read.
        """
        while (settled := self._settling.get(inode)) is not None:
            await settled.wait()
        settled = self._settling[inode] = trio.Event()
        try:
            size = await self._workers.run(node, lambda: blob.size, waits=True)
            if inode in self._attributes.unsettled:
                self._attributes.unsettled.discard(inode)
                with suppress(OSError):  # nobody has mounted this
                    pyfuse3.invalidate_inode(inode, attr_only=True)
            return size
        finally:
            del self._settling[inode]
            settled.set()

    def _open_blob(self, node: Node) -> Blob | None:
        return next((blob for blob, opened in self._files.values() if opened.key == node.key), None)

    def _in_place(self, at: Node | NodeTable, work: Callable[[], T]) -> T:
        try:
            return work()
        except Exception as error:
            raise self._failures.translate(error, at) from None


def _push(inode: int, size: int, blob: Blob) -> None:
    """Give the kernel a whole small file that is at hand, so that it need not ask for it."""
    with suppress(ImgfsError, OSError):  # then it asks
        data = blob.try_pread(size, 0)
        if data:
            pyfuse3.notify_store(inode, 0, data)


def _guarded(handler: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    """The same handler, but what it does not expect is EIO: raised to pyfuse3 it would end the whole mount."""

    @wraps(handler)
    async def guarded(operations: Operations, *arguments: object) -> object:
        try:
            return await handler(operations, *arguments)
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            raise operations._failures.translate(error, handler.__name__) from None

    return guarded


async def _refuse(*arguments: object) -> NoReturn:
    raise pyfuse3.FUSEError(errno.EROFS)


for _name in (
    *("create", "link", "mkdir", "mknod", "removexattr", "rename", "rmdir", "setattr", "setxattr", "symlink"),
    *("unlink", "write"),
):
    setattr(Operations, _name, staticmethod(_refuse))
for _name in (
    *("lookup", "getattr", "readlink", "opendir", "readdir", "releasedir", "open", "read", "release"),
    *("getxattr", "listxattr"),
):
    setattr(Operations, _name, _guarded(getattr(Operations, _name)))
