"""An image as one virtual, seekable tar: `rootfs.tar` of its layers' tars, `flat.tar` of its root file system."""

from collections.abc import Iterable

from imgfs.blob import Blob, Concatenation
from imgfs.digest import ImageID
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


class FlatTarFile(File):
    """What `table` holds as a tar; it is worked out when it is opened or measured."""

    def __init__(self, key: str, table: TreeTable, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._table = table

    @property
    def known_size(self) -> int | None:
        return self._table.known_flat_size

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._table.origins

    def open(self) -> Blob:
        return self._table.open_flat()


def open_rootfs_tar(store: ImageStore, image_id: ImageID, *, verbatim: bool) -> Blob:
    """The rootfs.tar of an image; the caller closes it. Raises ImageNotFound.

    A layer that is not there, or that has no tar, fails when a read gets to it, not before.
    """
    layers = store.open_layers(image_id, tolerant=True)
    return Concatenation(layers) if verbatim else JoinedTar(layers)
