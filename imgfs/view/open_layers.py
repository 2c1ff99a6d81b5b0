"""Layers that are open for the files of trees to share: as many as is good for memory, and for the limit of open files.

A layer is opened when the first of a tree's files is. Those not used for longest are let go of; files that are open
stay readable.
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

    def has(self, owner: object, number: int) -> bool:
        """Whether a layer is open."""
        return (owner, number) in self._open

    def share(self, owner: object, number: int, open_layer: Callable[[int], Blob]) -> Blob:
        """A layer, opened if need be; the caller closes it. Raises what opening it raises."""
        share = self._shared(owner, number)
        if share is not None:
            return share
        opened = SharedBlob(open_layer(number))
        share = opened.share()
        with self._lock:
            surplus = self._open.pop((owner, number), None)  # somebody else was as quick
            going = [] if surplus is None else [surplus]
            self._open[owner, number] = opened
            while len(self._open) > self._limit:
                going.append(self._open.popitem(last=False)[1])
        for shared in going:
            shared.close()
        return share

    def drop(self, owner: object) -> None:
        """Let go of all layers of one owner."""
        with self._lock:
            going = [self._open.pop(key) for key in list(self._open) if key[0] is owner]
        for shared in going:
            shared.close()

    def _shared(self, owner: object, number: int) -> Blob | None:
        with self._lock:
            shared = self._open.get((owner, number))
            if shared is None:
                return None
            self._open.move_to_end((owner, number))
            return shared.share()
