"""Layers whose content is open for the files of trees to share: as many as memory and the limit of open files allow.

A layer is opened when the first of a tree's files is. Those used least recently are let go of; files that are open
stay readable. Only `share` and `close` block, as opening and closing files may.
"""

from collections.abc import Callable, Hashable
from functools import partial
from threading import Lock
from typing import TypeVar

from imgfs.blob import Blob, SharedBlob, WrappedBlob
from imgfs.errors import ImgfsError, is_lost
from imgfs.lru import LRU

_MOST = 64

T = TypeVar("T")


class OpenLayers:
    """Layers by the tree that they are open for and their number in it. Safe to use from several threads."""

    def __init__(self, limit: int = _MOST) -> None:
        self._lock = Lock()
        self._open: LRU[tuple[Hashable, int], SharedBlob] = LRU(limit)
        self._dropped: list[SharedBlob | Blob] = []

    def share(self, owner: Hashable, number: int, open_layer: Callable[[int], Blob]) -> Blob:
        """A layer, opened if need be; the caller closes it. Raises what opening it raises."""
        share = self.shared(owner, number)
        if share is not None:
            return share
        opened = SharedBlob(
            _Layer(open_layer(number), lambda: self._drop(lambda key: key == (owner, number)))
        )
        share = opened.share()
        with self._lock:  # another thread may have been as quick: its own is among those dropped
            self._dropped += self._open.put((owner, number), opened)
        self.close()
        return share

    def shared(self, owner: Hashable, number: int) -> Blob | None:
        """A layer if it is open, else None; the caller closes it."""
        with self._lock:
            shared = self._open.get((owner, number))
            return None if shared is None else shared.share()

    def drop(self, owner: Hashable) -> None:
        """Let go of all layers of one owner; they are closed when the next one is opened, or by `close`."""
        self._drop(lambda key: key[0] is owner)

    def _drop(self, where: Callable[[tuple[Hashable, int]], bool]) -> None:
        with self._lock:
            self._dropped += self._open.pop_all(where)

    def leave(self, share: Blob) -> None:
        """Close a share without blocking: if that is the last, when the next layer is opened, or by `close`."""
        if not share.try_close():
            with self._lock:
                self._dropped.append(share)

    def close(self) -> None:
        """Close what was dropped."""
        with self._lock:
            dropped, self._dropped = self._dropped, []
        for shared in dropped:
            shared.close()


class _Layer(WrappedBlob[Blob]):
    """A layer that calls `lost` when what it lies on is gone: the next file opens it again, where that may be back."""

    def __init__(self, blob: Blob, lost: Callable[[], None]) -> None:
        super().__init__(blob)
        self._lost = lost

    def pread(self, size: int, offset: int) -> bytes:
        return self._reading(super().pread, size, offset)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        return self._reading(super().try_pread, size, offset)

    def hold(self, offset: int, size: int, *, may_block: bool = True) -> Blob | None:
        return self._reading(partial(super().hold, may_block=may_block), offset, size)

    def _reading(self, read: Callable[[int, int], T], *of: int) -> T:
        try:
            return read(*of)
        except (ImgfsError, OSError) as error:
            if is_lost(error):
                self._lost()
            raise
