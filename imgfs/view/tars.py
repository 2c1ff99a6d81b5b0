"""An image as one virtual, seekable file: `rootfs.tar` of its layers' tars, others of its root file system."""

from collections.abc import Callable, Iterable

from imgfs.blob import Blob, Concatenation
from imgfs.digest import ImageID
from imgfs.rootfs import RootFS
from imgfs.store import ImageStore
from imgfs.store.layer_stack import end_to_end
from imgfs.tar import JoinedTar
from imgfs.tar.fields import padded
from imgfs.view.image_origin import ImageOrigin
from imgfs.view.node import File, Origin
from imgfs.view.trees import TreeTable


class RootfsTar(File):
    """The joined layer tars, or with `verbatim` their plain concatenation; nothing is read before it must be."""

    name_may_change = True  # gone once no source has all tars, which is not reported

    def __init__(self, key: str, origin: ImageOrigin, verbatim: bool, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._origin = origin
        self._verbatim = verbatim

    @property
    def known_size(self) -> int | None:
        layers = self._origin.known_layers
        return self._total(layers.sizes()) if layers else None

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._origin.origins

    def look_for_size(self) -> int | None:
        return self._origin.read(lambda layers: self._total(layers.look_for_sizes()))

    def open(self) -> Blob:
        return open_rootfs_tar(self._origin.source.store, self._origin.image_id, verbatim=self._verbatim)

    def _total(self, sizes: Iterable[int | None]) -> int | None:
        return end_to_end(sizes if self._verbatim else (size and padded(size) for size in sizes))


class TreeImageFile(File):
    """What `table` holds as one file that `make` makes; its size is worked out when it is opened or measured."""

    def __init__(self, key: str, table: TreeTable, make: Callable[[RootFS], Blob], mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._table = table
        self._make = make

    @property
    def known_size(self) -> int | None:
        return self._table.sizes.get(self.key)

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._table.origins

    def open(self) -> Blob:
        blob = self._make(self._table.root())
        self._table.sizes[self.key] = blob.size
        return blob


def open_rootfs_tar(store: ImageStore, image_id: ImageID, *, verbatim: bool) -> Blob:
    """The rootfs.tar of an image; the caller closes it. Raises ImageNotFound.

    A layer that is not there, or that has no tar, fails when a read gets to it, not before.
    """
    layers = store.open_layers(image_id, tolerant=True)
    return Concatenation(layers) if verbatim else JoinedTar(layers)
