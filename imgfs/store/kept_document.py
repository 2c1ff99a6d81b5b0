"""JSON documents kept in memory. There may be thousands, much alike, of which hardly one is looked at closely.

So they are compressed many in one block.
"""

from threading import Lock

from isal import isal_zlib

_BLOCK = 32 << 10  # bytes of documents; to read one, all that are in its block are decompressed


class KeptDocument:
    """The exact bytes of a document, `size` of them."""

    __slots__ = ("_place", "size")

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        # replaced as one, as another thread may be reading it
        self._place: bytes | tuple[bytes, int] = data

    @classmethod
    def alone(cls, data: bytes) -> "KeptDocument":
        """A document that is compressed by itself."""
        document = cls(data)
        document.move(isal_zlib.compress(data, 1), 0)
        return document

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, KeptDocument) and self.read() == other.read())

    def __hash__(self) -> int:
        return hash(self.read())

    def read(self) -> bytes:
        """Its bytes."""
        place = self._place
        if isinstance(place, bytes):
            return place
        block, start = place
        return isal_zlib.decompress(block)[start : start + self.size]

    def move(self, block: bytes, start: int) -> None:
        """Take its bytes from a compressed block, at `start` there."""
        self._place = block, start


class DocumentPacker:
    """Keeps documents, packed as soon as there are enough of them for a block. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[KeptDocument] = []
        self._size = 0

    def keep(self, data: bytes) -> KeptDocument:
        """The document whose bytes are `data`."""
        document = KeptDocument(data)
        with self._lock:
            self._waiting.append(document)
            self._size += document.size
            if self._size >= _BLOCK:
                self._pack()
        return document

    def _pack(self) -> None:
        block = isal_zlib.compress(b"".join(document.read() for document in self._waiting), 1)
        start = 0
        for document in self._waiting:
            document.move(block, start)
            start += document.size
        self._waiting, self._size = [], 0
