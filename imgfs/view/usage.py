"""How much the images hold, as df(1) shows it."""

from threading import Lock

from imgfs.digest import DiffID
from imgfs.errors import ImageNotFound
from imgfs.sources.union import Snapshot, Union
from imgfs.view.trees import Trees


class Usage:
    """The bytes and files of the images of `union`, as far as known without reading a layer.

    `size` is the sum of the sizes in bytes of all layers, each once, as `LayerStack.listed_size` has them.
    """

    def __init__(self, union: Union, trees: Trees) -> None:
        self.size = 0
        self._union = union
        self._trees = trees
        self._sizes: dict[DiffID, int] = {}
        self._seen: Snapshot | None = None
        self._looking = Lock()

    @property
    def is_current(self) -> bool:
        """Whether `look` would find nothing new. Never blocks."""
        return self._seen is self._union.snapshot

    @property
    def files(self) -> int:
        """The number of images, and of the files of those that were looked into. Never blocks."""
        return len(self._union.snapshot.images) + self._trees.loaded.weight

    def look(self) -> None:
        """Look for sizes; may block. Returns at once while another thread does."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            snapshot = self._union.snapshot
            sizes = self._look(snapshot)
            self._sizes = {diff_id: size for diff_id, size in sizes.items() if size is not None}
            self.size = sum(self._sizes.values())
            if len(self._sizes) == len(sizes):
                self._seen = snapshot
        finally:
            self._looking.release()

    def _look(self, snapshot: Snapshot) -> dict[DiffID, int | None]:
        """The size of each layer, None where it is recorded nowhere yet."""
        sizes: dict[DiffID, int | None] = {}
        for image_id, image in snapshot.images.items():
            try:
                layers = snapshot.sources[image_id][0].store.layers(image_id)
            except ImageNotFound:  # it has gone since
                continue
            for number, diff_id in enumerate(image.diff_ids):
                if diff_id not in sizes:
                    known = self._sizes.get(diff_id)
                    sizes[diff_id] = layers.listed_size_of(number) if known is None else known
        return sizes
