"""Our own store, `imgfs:PATH`, as a source: read without locks while others write.

`layout` says what lies where; `imgfs.own` changes a store.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial

import msgspec
import platformdirs

from imgfs.blob import FileBlob, Root
from imgfs.digest import ChainID, DiffID, Digest, ImageID
from imgfs.errors import ImgfsError, SourceNotFound, describe
from imgfs.layers import BlobLayer, Indexer, Layer, chain_ids
from imgfs.sources.finder import Check, Finder, FoundImage, LayerRef, Report
from imgfs.sources.imagedb import ImageDatabase
from imgfs.sources.kind import DirectoryKind
from imgfs.sources.own.layout import REPOSITORIES, VERSION_FILE, LayerRecord, Layout
from imgfs.store import FSBackend, Image

_WATCHED = (VERSION_FILE, "imagedb/content/sha256", REPOSITORIES)
"""What changes with the images and their names."""


class _LayerRef(msgspec.Struct, frozen=True):
    """A layer by its chain ID."""

    key: ChainID
    layout: Layout

    def resolve(self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer) -> Layer:
        record = self.layout.read_record(chain_id)  # which says the same of the diff ID and of what is below
        stored = Digest(record.blob)
        open_blob = partial(self.layout.open_blob, stored)
        return BlobLayer(chain_id, diff_id, parent, open_blob, indexer, stored, record.size)


class OwnFinder(Finder):
    """Every image in a store of ours; none while a store that was not there at first is not made yet."""

    def __init__(self, layout: Layout) -> None:
        self.reference = f"imgfs:{layout.root}"
        self.folders = (layout.root,)
        self.writers = frozenset({_existing(layout.files).writer})
        self._layout = layout
        self._images = ImageDatabase()
        self._is_expected = not layout.exists

    def find(self, report: Report) -> Iterable[FoundImage]:
        self._is_expected = self._is_expected and not self._layout.exists
        if self._is_expected:
            return ()
        backend = FSBackend(self._layout.imagedb, read_only=True)

        @cache
        def layer(chain_id: ChainID) -> LayerRef:
            return _LayerRef(chain_id, self._layout)

        def layers(image: Image) -> Sequence[LayerRef]:
            return tuple(map(layer, chain_ids(image.diff_ids)))

        return self._images.find(backend, self._read_names, layers, report)

    def stamp(self) -> object:
        self._layout.files.follow()
        return self._layout.files.stamp(_WATCHED)

    def watched(self) -> Iterable[str]:
        return map(self._layout.files.path_of, ("", *_WATCHED))

    def checks(self) -> Iterable[Check]:
        return self._images.checks()

    def close(self) -> None:
        self._layout.files.close()

    def _read_names(self, report: Report) -> dict[str, ImageID]:
        try:
            return self._layout.read_tags(report)
        except (ImgfsError, OSError) as error:
            report(f"names are not known: {describe(error)}")
            return {}


def _existing(directory: Root) -> Root:
    """A directory, or the nearest one above it that exists."""
    while not directory.is_directory() and directory.path != "/":
        directory = Root(os.path.dirname(directory.path))
    return directory


def default_path() -> str:
    """The store used when none is named: `$XDG_DATA_HOME/imgfs`."""
    return platformdirs.user_data_dir("imgfs")


def layer_of(
    record: LayerRecord, chain_id: ChainID, indexer: Indexer, open_blob: Callable[[], FileBlob]
) -> BlobLayer:
    """The layer that a record is of, whose blob `open_blob` opens."""
    parent = ChainID(record.parent) if record.parent else None
    stored = Digest(record.blob)
    return BlobLayer(chain_id, DiffID(record.diff_id), parent, open_blob, indexer, stored, record.size)


def _finder(path: str) -> OwnFinder:
    """Finds the images of the store at `path`, or for an empty path of the default one, which need not exist yet.

    Raises SourceNotFound if there is no store at `path`, OSError if it cannot be read.
    """
    layout = Layout(path or default_path())
    if path and not layout.exists:
        raise SourceNotFound(f"{path}: no store of imgfs there")
    return OwnFinder(layout)


KIND = DirectoryKind(_finder, lambda root: Layout(root).exists)
