"""JSON documents kept in memory. There may be thousands, much alike, of which hardly one is looked at closely.

So they are compressed many in one block.
"""

from array import array
from collections.abc import Sequence
from itertools import accumulate
from threading import Lock

from isal import isal_zlib

_BLOCK = 32 << 10  # bytes of documents; to read one, all that are in its block are decompressed


class KeptDocument:
    """The exact bytes of a document."""

    __slots__ = ("_kept", "_number")

    def __init__(self, data: bytes) -> None:
        self._kept: bytes | _Block = data
        self._number = 0

    @classmethod
    def alone(cls, data: bytes) -> "KeptDocument":
        """A document that is compressed by itself."""
        document = cls(data)
        document.move(_Block([data]), 0)
        return document

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, KeptDocument) and self.read() == other.read())

    def __hash__(self) -> int:
        return hash(self.read())

    @property
    def size(self) -> int:
        """How many bytes it has."""
        kept = self._kept
        return len(kept) if isinstance(kept, bytes) else kept.size(self._number)

    def read(self) -> bytes:
        """Its bytes."""
        kept = self._kept
        return kept if isinstance(kept, bytes) else kept.read(self._number)

    def move(self, block: "_Block", number: int) -> None:
        """Take its bytes from a block, in which it has that number."""
        self._number = number  # first, as another thread may be reading it
        self._kept = block


class _Block:
    """Documents compressed together, numbered from 0."""

    __slots__ = ("_ends", "_packed")

    def __init__(self, documents: Sequence[bytes]) -> None:
        self._packed = isal_zlib.compress(b"".join(documents), 1)
        self._ends = array("Q", accumulate(map(len, documents)))

    def size(self, number: int) -> int:
        return self._ends[number] - self._start(number)

    def read(self, number: int) -> bytes:
        return isal_zlib.decompress(self._packed)[self._start(number) : self._ends[number]]

    def _start(self, number: int) -> int:
        return self._ends[number - 1] if number else 0


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
            self._size += len(data)
            if self._size >= _BLOCK:
                self._pack()
        return document

    def _pack(self) -> None:
        block = _Block([document.read() for document in self._waiting])
        for number, document in enumerate(self._waiting):
            document.move(block, number)
        self._waiting, self._size = [], 0
