"""`flat.tar`: the merged root file system as one virtual, seekable tar."""

from imgfs.blob import Blob
from imgfs.view.node import File, Origin
from imgfs.view.trees import TreeTable


class FlatTarFile(File):
    """What `table` holds as a tar; it is worked out when somebody looks."""

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
