"""A virtual file assembled from ranges of layers, bytes made here, and zeros, of which nothing is copied.

Knows nothing of what such a file is. Tried by the tests of `flat` and `erofs_plan`.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from threading import Lock

from imgfs.blob import Blob
from imgfs.errors import Corrupt, InvalidImage
from imgfs.tar.packed import PackedBytes
from imgfs.tree.tree import NO_LAYER

_MAX_SIZE = 1 << 62  # bytes; a file system has no larger ones
_MAX_TEXT = 4 << 30  # bytes made here
_MAX_TRIED = 1000  # ranges that are read in one go without blocking
_TEXT, _ZEROS = NO_LAYER, NO_LAYER - 1  # in place of a layer: bytes made here, and zeros


class Assembly:
    """What a file is made of, in order. Those that add to it raise InvalidImage if it would be absurdly long.

    Each range ends at one of `ends`, and begins at one of `offsets` in one of `layers`, or in `text`, which has the
    bytes that are made here.
    """

    def __init__(self, text: PackedBytes | None = None) -> None:
        self.ends = array("Q")
        self.layers = array("I")
        self.offsets = array("Q")
        self.text = PackedBytes() if text is None else text
        self.data_ends: dict[int, int] = {}
        """By layer, where the last data in it ends that is part of this: what is missing behind it is padding."""

    @property
    def size(self) -> int:
        """In bytes."""
        return self.ends[-1] if self.ends else 0

    def add_layer(self, layer: int, offset: int, size: int, padding: int = 0) -> None:
        """Add the data that a layer has at an offset, and the padding behind it, which may be missing there."""
        self._add(layer, offset, size + padding)
        if size:
            self.data_ends[layer] = max(offset + size, self.data_ends.get(layer, 0))

    def add_text(self, offset: int, size: int) -> None:
        """Add what `text` has, or will have, at an offset."""
        self._add(_TEXT, offset, size)
        if offset + size > _MAX_TEXT:
            raise InvalidImage("a file of which too much is to be made")

    def add_zeros(self, size: int) -> None:
        """Add zeros."""
        self._add(_ZEROS, 0, size)

    def _add(self, layer: int, offset: int, size: int) -> None:
        if not size:
            return
        end = self.size
        if end + size > _MAX_SIZE:
            raise InvalidImage("files that are too large together to be in one file")
        if self.ends and self.layers[-1] == layer:
            length = end - (self.ends[-2] if len(self.ends) > 1 else 0)
            if layer == _ZEROS or self.offsets[-1] + length == offset:
                self.ends[-1] += size
                return
        self.ends.append(end + size)
        self.layers.append(layer)
        self.offsets.append(offset)


class AssembledBlob(Blob):
    """The file that `plan` describes; `open_layer` opens a layer's tar, once, when a read first gets there."""

    def __init__(self, plan: Assembly, open_layer: Callable[[int], Blob]) -> None:
        self._plan = plan
        self._open_layer = open_layer
        self._lock = Lock()
        self._layers: dict[int, Blob] = {}

    @property
    def size(self) -> int:
        return self._plan.size

    def pread(self, size: int, offset: int) -> bytes:
        pieces = []
        for number, start, length in self._ranges(size, offset):
            piece = self._range(number, length, start)
            if len(piece) < length:
                if start + len(piece) < min(start + length, self._plan.data_ends[self._plan.layers[number]]):
                    raise Corrupt(f"layer {self._plan.layers[number]} ends before offset {start + length}")
                piece += bytes(length - len(piece))
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        pieces: list[bytes] = []
        for number, start, length in self._ranges(size, offset):
            layer = self._plan.layers[number]
            if len(pieces) == _MAX_TRIED:
                return None
            if layer in (_TEXT, _ZEROS):
                pieces.append(self._range(number, length, start))
                continue
            blob = self._layers.get(layer)
            piece = blob.try_pread(length, start) if blob is not None else None
            if piece is None or len(piece) < length:
                return None
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        with self._lock:
            layers = list(self._layers.values())
            self._layers.clear()
        for layer in layers:
            layer.close()

    def _ranges(self, size: int, offset: int) -> Iterator[tuple[int, int, int]]:
        """The ranges that a read touches: number, offset in what it is a range of, bytes."""
        plan = self._plan
        end = min(offset + size, plan.size)
        number = bisect_right(plan.ends, offset)
        while offset < end:
            start = plan.ends[number - 1] if number else 0
            stop = min(end, plan.ends[number])
            yield number, plan.offsets[number] + offset - start, stop - offset
            offset = stop
            number += 1

    def _range(self, number: int, size: int, offset: int) -> bytes:
        layer = self._plan.layers[number]
        if layer == _ZEROS:
            return bytes(size)
        if layer == _TEXT:
            return self._plan.text.read(size, offset)
        with self._lock:
            blob = self._layers.get(layer)
            if blob is None:
                blob = self._layers[layer] = self._open_layer(layer)
        return blob.pread(size, offset)
