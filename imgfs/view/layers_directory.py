"""`layers/`: each layer of an image, as its tar and as the tree that this alone makes."""

from collections.abc import Iterator

from imgfs.blob import Blob
from imgfs.store import Image
from imgfs.view.image_origin import ImageOrigin
from imgfs.view.node import Directory, File, Node, Origin
from imgfs.view.trees import Trees


class LayersDirectory(Directory):
    """`NN-<12 hex of the diff ID>/` for each layer of `image`, 00 being the lowest, and a `.tar` beside it.

    There is no `.tar` where no source has one.
    """

    def __init__(self, key: str, image: Image, origin: ImageOrigin, trees: Trees, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._origin = origin
        self._trees = trees
        width = max(2, len(str(len(image.diff_ids) - 1)))
        self._names = [f"{number:0{width}}-{of.short}".encode() for number, of in enumerate(image.diff_ids)]

    def lookup(self, name: bytes) -> Node | None:
        stem = name.removesuffix(b".tar")
        if stem not in self._names:
            return None
        number = self._names.index(stem)
        return self._tree(number) if stem == name else self._tar(number)

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        for number, name in enumerate(self._names):
            yield name, self._tree(number)
            tar = self._tar(number)
            if tar is not None:
                yield name + b".tar", tar

    def _tar(self, number: int) -> Node | None:
        if not self._origin.any_layers(lambda layers: layers.may_have_tar(number)):
            return None
        key = f"{self.key}/{self._names[number].decode()}.tar"
        return LayerTar(key, self._origin, number, self.mtime_ns)

    def _tree(self, number: int) -> Node:
        key = f"{self.key}/{self._names[number].decode()}"
        return self._trees.table(key, self._origin, self.mtime_ns, only=number).top()


class LayerTar(File):
    """One layer's tar, byte for byte."""

    name_may_change = True  # gone once no source has it, which is not reported

    def __init__(self, key: str, origin: ImageOrigin, number: int, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._origin = origin
        self._number = number

    @property
    def known_size(self) -> int | None:
        layers = self._origin.known_layers
        return layers.size_of(self._number) if layers else None

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._origin.origins

    def look_for_size(self) -> int | None:
        return self._origin.read(lambda layers: layers.look_for_size_of(self._number))

    def open(self) -> Blob:
        return self._origin.read(lambda layers: layers.open_one(self._number))
