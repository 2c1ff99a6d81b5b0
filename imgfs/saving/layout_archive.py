"""An OCI image layout in a tar, with one image, written front to back.

Format: OCI image specification, image-layout.md.
Tried by the tests of `imgfs copy`.
"""

from collections.abc import Callable
from typing import BinaryIO

from imgfs.saving.copying import Destination
from imgfs.saving.entry import TarWriter, json_entry
from imgfs.saving.oci_layout import LAYOUT, new_index, piece_entry, with_image
from imgfs.saving.piece import Piece


class LayoutArchive(Destination):
    """Writes an archive to `file`, in which the image has `tag` unless that is empty."""

    def __init__(self, file: BinaryIO, tag: str) -> None:
        self._tar = TarWriter(file)
        self._tag = tag
        self._tar.add(json_entry("oci-layout", LAYOUT))

    def has(self, piece: Piece) -> bool:
        return False

    def put(self, piece: Piece, advance: Callable[[int], None]) -> None:
        self._tar.add(piece_entry(piece), advance)

    def finish(self, top: Piece) -> None:
        self._tar.add(piece_entry(top))
        self._tar.add(json_entry("index.json", with_image(new_index([]), top, self._tag)))
        self._tar.finish()
