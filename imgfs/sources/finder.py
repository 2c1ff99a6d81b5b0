"""What a kind of source consists of: a `Finder`, and what that finds. `Source` derives everything else from it.

A finder knows where a place keeps its images and reads their descriptions; it keeps no store, opens no layer and
writes nothing.
Tried by the tests that every source runs through.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import msgspec

from imgfs.blob import Blob
from imgfs.digest import ChainID, DiffID, Digest, ImageID
from imgfs.layers import BlobLayer, Indexer, Layer, TocLayer, TocPin
from imgfs.sources.container import Container
from imgfs.store import Image, KeptDocument


class Report(Protocol):
    """Takes a problem in one line; see `imgfs.store.problems`."""

    def __call__(self, text: str, *, image: str = "", names: Iterable[str] = ()) -> None:
        """Report a problem; `image` is the ID of what is not shown because of it, `names` are its names."""


def ignore(text: str, *, image: str = "", names: Iterable[str] = ()) -> None:
    """A `Report` for what was reported already."""


class LayerRef(Protocol):
    """Where a layer is stored, found with an image; it becomes a layer by its place in a stack."""

    @property
    def key(self) -> Hashable:
        """What is stored where: a reference found later with the same key leads to the same layer."""

    def resolve(self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer) -> Layer:
        """The layer with this chain ID, on top of `parent`. Raises ImgfsError or OSError if it is not there."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class BlobRef:
    """A layer stored as a blob: how to open that, and its digest where it is recorded.

    `size_of` returns the size of the files of a layer where an engine records that; it raises nothing. A blob that
    `is_doubtful` is verified before any byte of it is shown.
    """

    open_blob: Callable[[], Blob]
    digest: Digest | None
    key: Hashable
    size_of: Callable[[ChainID], int | None] = lambda _: None
    is_doubtful: bool = False

    def resolve(
        self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer
    ) -> BlobLayer:
        return BlobLayer(
            chain_id,
            diff_id,
            parent,
            self.open_blob,
            indexer,
            self.digest,
            is_doubtful=self.is_doubtful,
            read_size=self.size_of,
        )


@dataclass(frozen=True, slots=True, weakref_slot=True)
class TocRef:
    """A layer stored as a blob that has a table of contents, by which it is read."""

    blob: BlobRef
    pin: TocPin

    @property
    def key(self) -> Hashable:
        return self.blob.key, self.pin

    def resolve(
        self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer
    ) -> TocLayer:
        blob = self.blob.resolve(chain_id, diff_id, parent, indexer)
        return TocLayer(blob, self.pin, indexer.spans, indexer.stats, indexer.find_toc)


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image as a place describes it; `layers` lie bottom first, one for each diff ID of the config.

    `manifest` is None where it has none. `aliases` are names
    that are looked up and not listed: `@sha256:<hex>` of its manifests, `@N` of its place in an archive or a layout,
    and a tag without a repository.
    """

    image: Image
    layers: Sequence[LayerRef]
    tags: Sequence[str] = ()
    parent: ImageID | None = None
    manifest: KeptDocument | None = None
    aliases: Sequence[str] = ()

    def named(self, tags: Sequence[str], aliases: Sequence[str]) -> "FoundImage":
        """The same image with these names."""
        return FoundImage(self.image, self.layers, tags, self.parent, self.manifest, aliases)


@dataclass(frozen=True, slots=True)
class Artifact:
    """What is stored like an image and is none: a signature, an attestation, a chart. `type` names it, if known."""

    digest: Digest
    type: str
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class FoundContainer:
    """A container as a place describes it.

    `layers` are those of its image, bottom first, one for each of `diff_ids`; `own` are those above them that are no
    image's, of which the last holds what the container changed, and all may still change; if it `is_whole`, that one
    holds all files, and there are no others. `open_record` opens what the
    engine itself keeps of the container, `open_log` what it has written, None where that is no file.
    """

    container: Container
    diff_ids: Sequence[DiffID]
    layers: Sequence[LayerRef]
    own: Sequence[LayerRef]
    is_whole: bool
    open_record: Callable[[], Blob] = field(compare=False)
    open_log: Callable[[], Blob] | None = field(default=None, compare=False)


class DerivedParents(msgspec.Struct, frozen=True):
    """The parents of images of a place whose engine records none, but derives them from what images have in common."""

    parents: Mapping[ImageID, ImageID]


Found = FoundImage | FoundContainer | Artifact | DerivedParents


class Check(msgspec.Struct, frozen=True):
    """Something that a place names: `what` it is, and `run`, which raises ImgfsError or OSError if it is bad.

    `digest` is that of its bytes, None where there is none.
    """

    what: str
    run: Callable[[], object]
    digest: str | None = None


class Finder(ABC):
    """Finds the images and the containers of one place. Its methods are called by one thread at a time.

    `reference` is how the place is written, such as `oci:/srv/layout`. `folders` are the absolute paths of the
    directories that are read while the source is open; none where all that is read is open already. `writers` are the
    users who decide what lies there, as `writer_of` returns them.
    """

    reference: str
    folders: Sequence[str] = ()
    writers: frozenset[int] = frozenset()

    @abstractmethod
    def find(self, report: Report) -> Iterable[Found]:
        """Everything that is there now; what is broken is reported and skipped.

        Called again after a change; an image that has not changed is not read again where its digest proves that.
        Raises ImgfsError or OSError if nothing can be found.
        """

    def stamp(self) -> object:
        """A value that differs from an earlier one if `find` may find something else now. Cheap.

        Raises ImgfsError or OSError if the place cannot be read any more.
        """
        return None

    def watched(self) -> Iterable[str] | None:
        """The paths of files and directories, one of which gets another stamp whenever `find` may find something else.

        None if that shows in no file. Raises ImgfsError or OSError as `stamp` does.
        """
        return None

    def checks(self) -> Iterable[Check]:
        """What can be checked besides the images' configs and layers. Raises ImgfsError or OSError."""
        return ()

    def last_updated(self, image_id: ImageID) -> datetime | None:
        """When an image was last tagged or changed, in UTC; None if the place does not record that. May block."""
        return None

    def close(self) -> None:  # noqa: B027  # some hold nothing
        """Close files; blobs that are open stay readable."""
