"""Layers that are open for the files of trees to share: as many as is good for memory, and for the limit of open files.

A layer is opened when the first of a tree's files is. Those not used for longest are let go of; files that are open
stay readable. Only `share` and `close` block, as opening and closing files may.
"""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from imgfs.blob import Blob, SharedBlob

_MOST = 64


class OpenLayers:
    """Layers by whose they are and a number. Safe to use from several threads."""

    def __init__(self, limit: int = _MOST) -> None:
        self._limit = limit
        self._lock = Lock()
        self._open: OrderedDict[tuple[object, int], SharedBlob] = OrderedDict()
        self._dropped: list[SharedBlob | Blob] = []

    def share(self, owner: object, number: int, open_layer: Callable[[int], Blob]) -> Blob:
        """A layer, opened if need be; the caller closes it. Raises what opening it raises."""
        share = self.shared(owner, number)
        if share is not None:
            return share
        opened = SharedBlob(open_layer(number))
        share = opened.share()
        with self._lock:
            surplus = self._open.pop((owner, number), None)  # another thread was as quick
            if surplus is not None:
                self._dropped.append(surplus)
            self._open[owner, number] = opened
            while len(self._open) > self._limit:
                self._dropped.append(self._open.popitem(last=False)[1])
        self.close()
        return share

    def drop(self, owner: object) -> None:
        """Let go of all layers of one owner; they are closed when the next one is opened, or by `close`."""
        with self._lock:
            self._dropped += [self._open.pop(key) for key in list(self._open) if key[0] is owner]

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

    def shared(self, owner: object, number: int) -> Blob | None:
        """A layer if it is open, else None; the caller closes it."""
        with self._lock:
            shared = self._open.get((owner, number))
            if shared is None:
                return None
            self._open.move_to_end((owner, number))
            return shared.share()
