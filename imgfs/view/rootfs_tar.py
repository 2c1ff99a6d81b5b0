"""`rootfs.tar`: all layer tars of an image as one virtual, seekable tar."""

from collections.abc import Iterable

from imgfs.blob import Blob, Concatenation
from imgfs.digest import ImageID
from imgfs.store import ImageStore
from imgfs.store.layer_stack import end_to_end
from imgfs.tar import JoinedTar
from imgfs.tar.fields import padded
from imgfs.view.image_origin import Home
from imgfs.view.node import File, Origin


class RootfsTar(File):
    """The joined layer tars, or with `verbatim` their plain concatenation; nothing is read before it must be."""

    def __init__(self, key: str, home: Home, verbatim: bool, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._home = home
        self._verbatim = verbatim

    @property
    def known_size(self) -> int | None:
        layers = self._home.known_layers
        return self._total(layers.sizes()) if layers else None

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._home.origins

    def look_for_size(self) -> int | None:
        return self._home.read(lambda layers: self._total(layers.look_for_sizes()))

    def open(self) -> Blob:
        return open_rootfs_tar(self._home.source.store, self._home.image_id, verbatim=self._verbatim)

    def _total(self, sizes: Iterable[int | None]) -> int | None:
        return end_to_end(sizes if self._verbatim else (size and padded(size) for size in sizes))


def open_rootfs_tar(store: ImageStore, image_id: ImageID, *, verbatim: bool) -> Blob:
    """The rootfs.tar of an image; the caller closes it. Raises ImageNotFound.

    A layer that is not there fails when a read gets to it, not before.
    """
    layers = store.open_layers(image_id, tolerant=True)
    return Concatenation(layers) if verbatim else JoinedTar(layers)
