"""`oci/` at the top: one OCI image layout of all images, a registry on disk.

Looking a blob up by its digest reads no more than it must: images of which nothing is known yet are gone through only
as far as it is found, first those whose manifest or whose config names it.
Format: OCI image specification, image-layout.md.
Tried by the tests of what is shown as layouts.
"""

import logging
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from threading import Lock

from imgfs.blob import Blob, MemoryBlob
from imgfs.digest import Digest, ImageID
from imgfs.errors import ImageNotFound, ImgfsError, describe
from imgfs.saving.entry import encode_json
from imgfs.saving.oci_layout import named_descriptors, new_index
from imgfs.saving.piece import Piece
from imgfs.saving.saved_image import ImagePieces
from imgfs.sources.union import Snapshot, Union
from imgfs.view.image_origin import ImageOrigin
from imgfs.view.layout import Layout, LayoutBlob
from imgfs.view.node import Directory, File, Node, WaitingDirectory
from imgfs.view.saved_images import SavedImages

logger = logging.getLogger("imgfs")

_HEX = re.compile(rb"(?:[0-9a-f]{64}){1,2}|[0-9a-f]{96}")
_AGAIN = 5.0  # seconds after which images that could not be read are tried again


class MountLayout(Layout):
    """The layout of all images of `union`, each under all its names."""

    name_may_change = False

    def __init__(self, union: Union, saved: SavedImages) -> None:
        images = _AllImages(union, saved)
        index = _Index(images)
        super().__init__("/oci", 0, lambda key: _IndexFile(key, index), images)


@dataclass(slots=True)
class _Look:
    """A look at all images of a snapshot, of which not all could be read unless it `is_whole`."""

    snapshot: Snapshot
    is_whole: bool = True
    time: float = field(default_factory=time.monotonic)

    def is_good(self, snapshot: Snapshot) -> bool:
        """Whether another look, with that snapshot, would hardly find anything else."""
        return self.snapshot is snapshot and (self.is_whole or time.monotonic() - self.time < _AGAIN)


class _AllImages:
    """The pieces of all images as far as they were found, by their digests: the `LayoutBlobs` of all."""

    def __init__(self, union: Union, saved: SavedImages) -> None:
        self.union = union
        self._saved = saved
        self._having: dict[str, ImageID] = {}  # an image by the hex of each digest in it
        self._listed: tuple[_Look, list[tuple[Piece, ImageID]]] | None = None
        self._searched: _Look | None = None  # that went through all images for one piece
        self._reported = set[tuple[ImageID, str]]()

    def algorithms(self) -> Iterable[str]:
        found = {piece.digest.algorithm for piece, _ in self.listed()}
        return sorted({"sha256"} | found)

    def directory(self, key: str, algorithm: str) -> Directory:
        return _AllBlobs(key, algorithm, self)

    def look_up(self, name: str) -> tuple[Piece, ImageID] | None:
        """A piece that was found, by the hex of its digest, and an image that has it. Never blocks.

        One of an image of which some are missing only if no other has it.
        """
        image_id = self._having.get(name)
        pieces = self._saved.known(image_id) if image_id is not None else None
        if image_id is None or pieces is None or not (pieces.is_whole or self._has_seen_all):
            return None
        return next(((piece, image_id) for piece in pieces.in_layout if piece.digest.hex == name), None)

    @property
    def _has_seen_all(self) -> bool:
        snapshot = self.union.snapshot
        looks = (self._searched, self._listed[0] if self._listed else None)
        return any(look is not None and look.is_good(snapshot) for look in looks)

    def find(self, name: str) -> None:
        """Find a piece by the hex of its digest. May block."""
        snapshot = self.union.snapshot
        having = self._having.get(name)
        if having is not None:
            self.pieces_of(having)  # which may have been forgotten
        if self.look_up(name) is not None or self._has_seen_all:
            return
        look = _Look(snapshot)
        for image_id in chain(_naming(snapshot, name), snapshot.images):
            look.is_whole &= self.pieces_of(image_id) is not None
            if self.look_up(name) is not None:
                return
        self._searched = look

    def listed(self) -> Sequence[tuple[Piece, ImageID]]:
        """Each piece, in the order of their digests, and an image that has it, as listed last. Never blocks."""
        return self._listed[1] if self._listed is not None else ()

    def list_all(self) -> _Look:
        """List all pieces, unless they are listed as they are now. May block."""
        snapshot = self.union.snapshot
        if self._listed is None or not self._listed[0].is_good(snapshot):
            look, found = _Look(snapshot), dict[Digest, tuple[Piece, ImageID]]()
            for image_id in snapshot.images:
                pieces = self.pieces_of(image_id)
                if pieces is None:
                    look.is_whole = False
                    continue
                for piece in pieces.in_layout:
                    if pieces.is_whole or piece.digest not in found:
                        found[piece.digest] = piece, image_id
            self._having = {digest.hex: image_id for digest, (_, image_id) in found.items()}
            self._listed = look, [found[digest] for digest in sorted(found)]
        return self._listed[0]

    def need_no_layers(self) -> bool:
        """Whether no layer has to be read to find all pieces. May block."""
        with suppress(ImgfsError, OSError):  # it is left out, or goes at the moment
            return None not in map(self._saved.look_for, self.union.snapshot.images)
        return False

    def pieces_of(self, image_id: ImageID) -> ImagePieces | None:
        """The pieces of an image; None if they cannot be had, which is logged once. May block."""
        try:
            pieces = self._saved.find(image_id)
        except (ImgfsError, OSError) as error:
            why = image_id, describe(error)
            if why not in self._reported and not isinstance(error, ImageNotFound):
                self._reported.add(why)
                logger.warning("oci/ is without image %s: %s", *why)
            return None
        for piece in pieces.in_layout:
            if pieces.is_whole or self._having.get(piece.digest.hex) not in self.union.snapshot.images:
                self._having[piece.digest.hex] = image_id
        return pieces


def _naming(snapshot: Snapshot, name: str) -> Iterator[ImageID]:
    """The images that have a blob, by the hex of its digest, as far as their configs and manifests say so."""
    if snapshot.named(name.encode()) is not None:
        yield ImageID.from_hex(name)
    wanted = name.encode()
    for image_id, image in snapshot.images.items():
        manifests = (source.manifest(image_id) or b"" for source in snapshot.sources[image_id])
        is_named = any(wanted in manifest or Digest.of(manifest).hex == name for manifest in manifests)
        if is_named or any(diff_id.hex == name for diff_id in image.diff_ids):
            yield image_id


class _Index:
    """What `index.json` says, made once for each look at all images."""

    def __init__(self, images: _AllImages) -> None:
        self._images = images
        self._making = Lock()
        self._made: tuple[_Look, bytes] | None = None

    @property
    def known(self) -> bytes | None:
        """Its bytes as of now, None if they are not made yet. Never blocks."""
        made = self._made
        return made[1] if made is not None and made[0].is_good(self._images.union.snapshot) else None

    def content(self) -> bytes:
        """Its bytes, of the present. May block."""
        with self._making:
            data = self.known
            if data is None:
                look = self._images.list_all()
                data = encode_json(new_index(list(self._descriptors(look.snapshot))))
                self._made = look, data
            return data

    def needs_no_layers(self) -> bool:
        """Whether no layer has to be read to make it. May block."""
        return self.known is not None or self._images.need_no_layers()

    def _descriptors(self, snapshot: Snapshot) -> Iterator[dict[str, object]]:
        """The images by their names, in order, and those that have none."""
        nameless = snapshot.images.keys() - snapshot.tags.values()
        for image_id, names in chain(
            ((snapshot.tags[name], [name]) for name in sorted(snapshot.tags)),
            ((image_id, []) for image_id in sorted(nameless)),
        ):
            pieces = self._images.pieces_of(image_id)
            if pieces is not None:
                yield from named_descriptors(pieces.oci_manifest.descriptor, names)


class _IndexFile(File):
    mutable = True

    def __init__(self, key: str, index: _Index) -> None:
        self.key = key
        self._index = index

    @property
    def known_size(self) -> int | None:
        known = self._index.known
        return None if known is None else len(known)

    def look_for_size(self) -> int | None:
        return len(self._index.content()) if self._index.needs_no_layers() else self.known_size

    def open(self) -> Blob:
        return MemoryBlob(self._index.content())


class _AllBlobs(WaitingDirectory):
    """`blobs/sha256/`: the blobs, configs and manifests of all images."""

    def __init__(self, key: str, algorithm: str, images: _AllImages) -> None:
        self.key = key
        self._algorithm = algorithm
        self._images = images

    def find(self, name: bytes | None) -> None:
        if name is None:
            self._images.list_all()
        elif _HEX.fullmatch(name):
            self._images.find(name.decode())

    def lookup(self, name: bytes) -> Node | None:
        found = self._images.look_up(name.decode()) if _HEX.fullmatch(name) else None
        return self._node(*found) if found and found[0].digest.algorithm == self._algorithm else None

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        for piece, image_id in self._images.listed():
            if piece.digest.algorithm == self._algorithm:
                yield piece.digest.hex.encode(), self._node(piece, image_id)

    def _node(self, piece: Piece, image_id: ImageID) -> Node:
        origin = ImageOrigin(image_id, self._images.union)
        return LayoutBlob(f"{self.key}/{piece.digest.hex}", piece, origin, 0)
