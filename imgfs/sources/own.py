"""Our own store, `imgfs:PATH`, as a source: read without locks while others write.

What lies where is `own_layout`'s; changing a store is `own_writer`'s.
"""

import os
from collections.abc import Mapping
from functools import partial

import platformdirs

from imgfs.blob import FileBlob
from imgfs.digest import ChainID, DiffID, Digest, ImageID
from imgfs.errors import SourceNotFound
from imgfs.layers import Indexer, Layer, LayerRegistry, StoredLayer
from imgfs.sources.own_layout import Layout
from imgfs.sources.source import Source
from imgfs.sources.young import now_while_young
from imgfs.store import FSBackend, ImageStore


def default_path() -> str:
    """The store used when none is named: `$XDG_DATA_HOME/imgfs`."""
    return platformdirs.user_data_dir("imgfs")


def is_own_store(path: str) -> bool:
    """Whether `path` is a store of ours."""
    return Layout(path).exists


def open_store(path: str, indexer: Indexer) -> "OwnStore":
    """Open the store at `path`, or for an empty path the default one, which is made if it is not there yet.

    Raises SourceNotFound if there is no store at `path`, OSError if it cannot be read.
    """
    layout = Layout(path or default_path())
    if not path:
        layout.create()
    elif not layout.exists:
        raise SourceNotFound(f"{path}: no store of imgfs there")
    return OwnStore(layout, indexer)


class OwnStore(Source):
    """A store of ours as it is now, and after `refresh`."""

    def __init__(self, layout: Layout, indexer: Indexer) -> None:
        self.layout = layout
        self.reference = f"imgfs:{layout.root}"
        self.folder = layout.root
        self._seen = self._stamp()
        self._tags = layout.read_tags()
        self.layers = LayerRegistry(partial(find_layer, layout, indexer))
        self.store = ImageStore(FSBackend(layout.imagedb, read_only=True), self.layers)

    @property
    def tags(self) -> Mapping[str, ImageID]:
        return {name: image_id for name, image_id in self._tags.items() if image_id in self.store}

    def refresh(self) -> bool:
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._tags = self.layout.read_tags()
        self.store.refresh()
        self._seen = stamp
        return True

    def _stamp(self) -> tuple[int, ...]:
        """Changes when the store does: modification times, or the time now while they are too young to tell."""
        places = (os.path.join(self.layout.imagedb, "content", "sha256"), self.layout.repositories)
        times = []
        for path in places:
            try:
                times.append(os.stat(path).st_mtime_ns)
            except FileNotFoundError:
                times.append(0)
        return (*times, now_while_young(times))


def find_layer(layout: Layout, indexer: Indexer, chain_id: ChainID) -> Layer:
    """A layer of the store at `layout`. Raises what `Layout.read_record` does."""
    record = layout.read_record(chain_id)
    stored = Digest(record.blob)
    parent = ChainID(record.parent) if record.parent else None
    open_blob = partial(FileBlob, layout.blob(stored))
    return StoredLayer(chain_id, DiffID(record.diff_id), parent, open_blob, indexer, stored, record.size)
