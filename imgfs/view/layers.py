"""`layers/`: each layer of an image, as its tar and as the tree that this alone makes."""

from collections.abc import Iterator

from imgfs.blob import Blob
from imgfs.store import Image
from imgfs.view.image_origin import Home
from imgfs.view.node import Directory, File, Node, Origin
from imgfs.view.trees import Trees


class LayersDirectory(Directory):
    """`NN-<12 hex of the diff ID>.tar` and `NN-<12 hex>/` for each layer of `image`, 00 being the lowest."""

    def __init__(self, key: str, image: Image, home: Home, trees: Trees, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._home = home
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
            yield name + b".tar", self._tar(number)

    def _tar(self, number: int) -> Node:
        key = f"{self.key}/{self._names[number].decode()}.tar"
        return LayerTar(key, self._home, number, self.mtime_ns)

    def _tree(self, number: int) -> Node:
        key = f"{self.key}/{self._names[number].decode()}"
        return self._trees.table(key, self._home, self.mtime_ns, only=number).top()


class LayerTar(File):
    """One layer's tar, byte for byte."""

    def __init__(self, key: str, home: Home, number: int, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._home = home
        self._number = number

    @property
    def known_size(self) -> int | None:
        layers = self._home.known_layers
        return layers.size_of(self._number) if layers else None

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._home.origins

    def look_for_size(self) -> int | None:
        return self._home.read(lambda layers: layers.look_for_size_of(self._number))

    def open(self) -> Blob:
        return self._home.read(lambda layers: layers.open_one(self._number))
