"""The kernel's requests, translated to calls of nodes, and nothing else.

What is in memory is returned in place. Whatever may touch a file of a source or of the cache is run by the workers of
the source that it belongs to: the event loop never blocks. Reading, opening and closing are first tried in place.
"""

import errno
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import wraps
from itertools import count
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

import pyfuse3
import trio

from imgfs.blob import Blob
from imgfs.errors import ImgfsError
from imgfs.mount.attributes import Attributes, known_size
from imgfs.mount.backing_files import BACKING
from imgfs.mount.inodes import Inodes
from imgfs.mount.kernel_mounts import KernelMounts
from imgfs.mount.listing import Listing, listing
from imgfs.mount.options import MountOptions
from imgfs.mount.tuning import release_freed_memory
from imgfs.mount.workers import Workers
from imgfs.view import Directory, File, Node, NodeTable, Symlink, Usage, WaitingDirectory

_NAME_MAX = 255
_COVERED_SECONDS = 1.0  # that the kernel takes it for granted that a directory is covered
_SMALL = 128 << 10  # bytes
_BLOCK = 4096  # bytes, in which statfs(2) counts
_USAGE_SECONDS = 0.1  # that it waits at most for what is not known yet: a source may hang

T = TypeVar("T")
P = ParamSpec("P")


def _guarded(
    handler: "Callable[Concatenate[Operations, P], Coroutine[Any, Any, T]]",
) -> "Callable[Concatenate[Operations, P], Coroutine[Any, Any, T]]":
    """Make `handler` fail with EIO on unexpected errors: raised to pyfuse3, they would end the whole mount."""

    @wraps(handler)
    async def guarded(operations: "Operations", /, *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await handler(operations, *arguments, **named)
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            raise operations._workers.failures.translate(error, handler.__name__) from None

    return guarded


async def _refuse(*arguments: object, **named: object) -> NoReturn:
    """The handler of every request to change something."""
    raise pyfuse3.FUSEError(errno.EROFS)


class Operations(pyfuse3.Operations):
    """The tree below `root`, read-only."""

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    create = link = mkdir = mknod = rename = rmdir = symlink = unlink = write = _refuse
    setattr = setxattr = removexattr = _refuse

    def __init__(
        self,
        root: Directory,
        options: MountOptions,
        usage: Usage | None = None,
        kernel: KernelMounts | None = None,
    ) -> None:
        super().__init__()
        self._root = root
        self._usage = usage
        self._kernel = kernel
        self._attributes = Attributes(options, may_be_covered=kernel is not None)
        self._lazy_size = bool(options.lazy_size)
        self._no_xattrs = options.no_xattrs
        self._inodes = Inodes(root)
        self._workers = Workers()
        self._handles = count(1)
        self._files: dict[int, tuple[Blob, Node]] = {}
        self._directories: dict[int, Listing] = {}
        self._learning: dict[int, trio.Event] = {}

    def close(self) -> None:
        """Close what is still open. May block."""
        for blob, _ in self._files.values():
            blob.close()
        self._files.clear()
        self._directories.clear()

    def forget_names(self, names: Iterable[tuple[str, bytes]]) -> None:
        """Make the kernel forget names, which it may keep for good otherwise; each comes after its directory's key.

        Replies sent before, to look-ups and listings, enter no name after that: the kernel holds the directory's lock
        until it has taken such a reply, and waits for the lock to forget a name (Linux, fs/fuse/dir.c).
        """
        for listed in self._directories.values():
            listed.outdated = True
        for key, name in names:
            if self._kernel is not None:
                self._kernel.forget(key, name)
            pyfuse3.invalidate_entry_async(self._inodes.number_of(key), name, ignore_enoent=True)

    @_guarded
    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        if len(name) > _NAME_MAX:
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        parent = await self._node(parent_inode)
        node: Node | None = None
        if self._kernel is not None:
            self._kernel.enter_soon(parent)
            if parent_inode == pyfuse3.ROOT_INODE and name == BACKING:
                node = self._kernel.backing
        if node is None and isinstance(parent, Directory):
            node = self._workers.run_in_place(parent, parent.lookup, name)
        if node is None and isinstance(parent, WaitingDirectory):
            await self._workers.run(parent, parent.find, name, waits=True)
            node = self._workers.run_in_place(parent, parent.lookup, name)
        if node is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        if self._kernel is None:
            return self._known(node, self._inodes.add_reference(node))
        is_known = node.table is not None and self._inodes.refers_to(node.table)
        await self._kernel.pass_by(node, ctx.pid, is_known=is_known)
        entry = self._known(node, self._inodes.add_reference(node))
        if self._kernel.is_covered(node):
            entry.entry_timeout = _COVERED_SECONDS
        return entry

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for number, times in inode_list:
            self._inodes.forget(number, times)

    @_guarded
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        node = self._unloaded_top(inode) or await self._node(inode)
        if isinstance(node, File) and node.known_size is None:
            return self._attributes.of(node, inode, await self._size(node))
        return self._known(node, inode)

    async def _size(self, node: File) -> int | None:
        """A size that is not in memory: the exact one, or with `size=lazy` the recorded one, None if there is none."""
        if self._lazy_size:
            return await self._workers.run(node, node.look_for_size)
        try:
            return await self._workers.run(node, node.find_size, waits=True)
        except pyfuse3.FUSEError as error:
            blob = self._open_blob(node)
            if error.errno != errno.ENOENT or blob is None:
                raise
            # a program that has the file open can read on after its removal, so it must learn the size
            return await self._workers.run(node, lambda: blob.size, waits=True)

    @_guarded
    async def access(self, inode: int, mode: int, ctx: pyfuse3.RequestContext) -> bool:
        """Permit all, as the kernel has checked what there is to check; of interest is that a directory is entered."""
        if self._kernel is None:
            raise pyfuse3.FUSEError(errno.ENOSYS)  # the kernel sends no further such requests
        await self._kernel.enter(await self._node(inode))
        return True

    @_guarded
    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        node = await self._node(inode)
        if not isinstance(node, Symlink):
            raise pyfuse3.FUSEError(errno.EINVAL)
        return node.target

    @_guarded
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        node = await self._node(inode)
        if not isinstance(node, Directory):
            raise pyfuse3.FUSEError(errno.ENOTDIR)
        if isinstance(node, WaitingDirectory):
            await self._workers.run(node, node.find, None, waits=True)
        if self._kernel is not None:
            await self._kernel.enter(node)
        entries = self._workers.run_in_place(node, listing, node, self._inodes, self._attributes)
        handle = next(self._handles)
        self._directories[handle] = entries
        return handle

    @_guarded
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        self._directories[fh].reply(start_id, token)

    @_guarded
    async def releasedir(self, fh: int) -> None:
        del self._directories[fh]

    @_guarded
    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        node = await self._node(inode)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise pyfuse3.FUSEError(errno.EROFS)
        if not isinstance(node, File):
            raise pyfuse3.FUSEError(errno.EINVAL)
        size = None if node.mutable else node.known_size
        blob = self._workers.run_in_place(node, node.try_open)
        if blob is None:
            blob = await self._workers.run(node, node.open)
        waits = not (node.mutable or self._lazy_size)
        if (size is None and waits) or (size is not None and inode in self._attributes.size_unknown):
            try:
                size = await self._learn_size(inode, node, blob)
            except pyfuse3.FUSEError:
                await self._close(node, blob)
                raise
        if size is not None and size <= _SMALL and self._inodes.mark_pushed(inode):
            _push(inode, size, blob)
        handle = next(self._handles)
        self._files[handle] = (blob, node)
        direct = size is None  # else the kernel would cut reads off at a size that is not final
        return pyfuse3.FileInfo(fh=handle, direct_io=direct, keep_cache=not direct)

    @_guarded
    async def read(self, fh: int, off: int, size: int) -> bytes:
        blob, node = self._files[fh]
        data = self._workers.run_in_place(node, blob.try_pread, size, off)
        return await self._workers.run(node, blob.pread, size, off) if data is None else data

    async def flush(self, fh: int) -> None:
        raise pyfuse3.FUSEError(errno.ENOSYS)  # the kernel sends no further flush requests

    @_guarded
    async def release(self, fh: int) -> None:
        blob, node = self._files.pop(fh)
        await self._close(node, blob)

    async def _close(self, node: Node, blob: Blob) -> None:
        if not blob.try_close():
            await self._workers.run(node, blob.close)

    @_guarded
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        if self._kernel is not None:
            await self._kernel.make_way(ctx.pid)
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = _BLOCK
        data.f_namemax = _NAME_MAX
        usage = self._usage
        if usage is not None:
            if not usage.is_current:
                with trio.move_on_after(_USAGE_SECONDS):
                    await self._workers.run(self._root, usage.look)
            data.f_blocks = -(-usage.size // _BLOCK)
            data.f_files = usage.files
        return data

    def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> Awaitable[bytes]:  # type: ignore[override]
        """The value of an extended attribute.

        `ls -l` asks for one of every file, and hardly a file has any: that is replied without a coroutine or a node.
        """
        self._refuse_xattrs()
        if self._inodes.lacks_xattrs(inode):
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return self._getxattr(inode, name)

    @_guarded
    async def _getxattr(self, inode: int, name: bytes) -> bytes:
        value = (self._unloaded_top(inode) or await self._node(inode)).xattrs.get(name)
        if value is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return value

    @_guarded
    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        self._refuse_xattrs()
        return list((self._unloaded_top(inode) or await self._node(inode)).xattrs)

    def _refuse_xattrs(self) -> None:
        """With `noxattr`, fail in the way that keeps the kernel from asking again, for any file."""
        if self._no_xattrs:
            raise pyfuse3.FUSEError(errno.ENOSYS)

    def _unloaded_top(self, inode: int) -> Node | None:
        """With `size=lazy`, what stands for the top of a table that is not loaded, if the number is that of one."""
        held = self._inodes[inode]
        if not self._lazy_size or not isinstance(held, NodeTable):
            return None
        return held.top() if self._inodes.number(held.top()) == inode else None

    async def _node(self, inode: int) -> Node:
        """The node with a number; loads its table first if it is not loaded."""
        while isinstance(held := self._inodes[inode], NodeTable):
            await self._workers.run(held, _load, held)
        return held

    def _known(self, node: Node, number: int) -> pyfuse3.EntryAttributes:
        """The attributes of a node, as far as they are known without blocking."""
        return self._attributes.of(node, number, known_size(node))

    async def _learn_size(self, inode: int, node: File, blob: Blob) -> int:
        """The size of a file that is being opened; makes the kernel ask for its attributes again.

        The kernel may have been sent a size of 0, as by a listing, and that reply may reach it at any time: if it asked
        only once it reads, it could take the older reply for the newer, and the file would end at 0. So its attributes
        are invalidated, once, before the first read.
        """
        while (learnt := self._learning.get(inode)) is not None:
            await learnt.wait()
        learnt = self._learning[inode] = trio.Event()
        try:
            size = await self._workers.run(node, lambda: blob.size, waits=True)
            if inode in self._attributes.size_unknown:
                self._attributes.size_unknown.discard(inode)
                with suppress(OSError):  # not mounted: there is no kernel to notify
                    pyfuse3.invalidate_inode(inode, attr_only=True)
            return size
        finally:
            del self._learning[inode]
            learnt.set()

    def _open_blob(self, node: Node) -> Blob | None:
        return next((blob for blob, opened in self._files.values() if opened.key == node.key), None)


def _push(inode: int, size: int, blob: Blob) -> None:
    """Send the kernel a whole small file that is in memory, so that it need not read it."""
    with suppress(ImgfsError, OSError):  # then the kernel reads it, and gets the error
        data = blob.try_pread(size, 0)
        if data:
            pyfuse3.notify_store(inode, 0, data)


def _load(table: NodeTable) -> None:
    table.load()
    release_freed_memory()
