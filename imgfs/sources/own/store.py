"""Our own store, `imgfs:PATH`, as a source: read without locks while others write.

`layout` says what lies where; `imgfs.own` changes a store.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import platformdirs

from imgfs.blob import FileBlob
from imgfs.digest import ChainID, DiffID, Digest, ImageID
from imgfs.errors import ImgfsError, SourceNotFound, StoreError, describe
from imgfs.layers import BlobLayer, Indexer, LayerRegistry
from imgfs.sources.checks import recorded_parents
from imgfs.sources.own.layout import REPOSITORIES, Layout
from imgfs.sources.repositories import report_absent, with_names
from imgfs.sources.source import Check, Source
from imgfs.sources.young import now_while_young
from imgfs.store import FSBackend, ImageStore, Problem, Problems


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
        self.writers = frozenset({layout.files.writer})
        self._problems = Problems(self.reference)
        self._seen = self._stamp()
        self._tags = self._read_tags()
        self.layers = LayerRegistry(partial(find_layer, layout, indexer))
        self.store = ImageStore(FSBackend(layout.imagedb, read_only=True), self.layers)
        report_absent(self.store, self._tags, self._read_tags, self._problems.report)

    @property
    def tags(self) -> Mapping[str, ImageID]:
        return {name: image_id for name, image_id in self._tags.items() if image_id in self.store}

    @property
    def problems(self) -> Sequence[Problem]:
        return with_names([*self._problems, *self.store.problems], self._tags)

    def checks(self) -> Iterable[Check]:
        return recorded_parents(self.store)

    def refresh(self) -> bool:
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._problems = self._problems.begin()
        self._tags = self._read_tags()
        self.store.refresh()
        report_absent(self.store, self._tags, self._read_tags, self._problems.report)
        self._seen = stamp
        return True

    def close(self) -> None:
        self.layout.files.close()

    def _read_tags(self) -> dict[str, ImageID]:
        try:
            return self.layout.read_tags(self._problems.report)
        except (ImgfsError, OSError) as error:
            self._problems.report(f"names are not known: {describe(error)}")
            return {}

    def _stamp(self) -> tuple[int, ...]:
        """Changes when the store does: modification times, or the time now while they are too young to tell."""
        files = self.layout.files
        files.follow()
        times = []
        for name in ("imagedb/content/sha256", REPOSITORIES):
            try:
                times.append(files.stat(name).st_mtime_ns)
            except (FileNotFoundError, StoreError):
                times.append(0)
        return (*times, now_while_young(times))


def find_layer(
    layout: Layout, indexer: Indexer, chain_id: ChainID, open_blob: Callable[[], FileBlob] | None = None
) -> BlobLayer:
    """A layer of the store at `layout`; `open_blob` opens its blob if that lies elsewhere.

    Raises what `Layout.read_record` does.
    """
    record = layout.read_record(chain_id)
    stored = Digest(record.blob)
    parent = ChainID(record.parent) if record.parent else None
    open_blob = open_blob or partial(layout.open_blob, stored)
    return BlobLayer(chain_id, DiffID(record.diff_id), parent, open_blob, indexer, stored, record.size)
