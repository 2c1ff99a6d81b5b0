"""The parts of an EROFS image as files, for the kernel to mount: a layer is the same file whatever images have it.

Tried by the tests of trees, and by mounting them.
"""

from imgfs.blob import Blob
from imgfs.rootfs import RootFS
from imgfs.rootfs.rootfs import ErofsPart
from imgfs.view.node import File, NodeTable, Origin


class ErofsFile(File):
    """A part, called `name`. Its size is found when it is made, which may block. Raises what opening it raises."""

    name_may_change = True  # to the same bytes from another source

    def __init__(self, name: str, part: ErofsPart, table: NodeTable) -> None:
        self.key = f"/.erofs/{name}"
        self._open = part.open
        self._table = table
        with self.open() as blob:
            self._size = blob.size

    @property
    def known_size(self) -> int:
        return self._size

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._table.origins

    def open(self) -> Blob:
        return self._open()


def erofs_files(root: RootFS, table: NodeTable) -> list[File]:
    """The parts of the image of `root`, which is that of `table`; the metadata is the first. Raises as making it does.

    A layer is named by its diff ID.
    """
    name = "-".join(table.key.split("/")[1:])
    metadata, *devices = root.erofs_parts(links_inside=table.links_inside)
    return [
        ErofsFile(name, metadata, table),
        *(ErofsFile(part.layer.hex if part.layer else f"{name}-files", part, table) for part in devices),
    ]
