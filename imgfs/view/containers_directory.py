"""`containers/`: a directory for each container, named by its ID, and links to them by name."""

from collections.abc import Callable, Iterator
from contextlib import suppress

from imgfs.blob import Blob
from imgfs.errors import ImgfsError
from imgfs.rootfs import RootFS
from imgfs.sources.union import ContainerAt, Union
from imgfs.view.container_trees import ContainerTrees
from imgfs.view.links import ImageLink
from imgfs.view.node import Directory, File, FixedDirectory, Node, Origin, Symlink
from imgfs.view.tars import TreeImageFile
from imgfs.view.texts import LiveText

_BY_NAME = b"by-name"


class ContainersDirectory(Directory):
    """All containers as they are now.

    Names and unique prefixes of an ID are not listed, but looking one up yields a link.
    """

    key = "/containers"

    def __init__(self, union: Union, trees: ContainerTrees) -> None:
        self._union = union
        self._trees = trees

    def lookup(self, name: bytes) -> Node | None:
        if name == _BY_NAME:
            return NamesDirectory(self._union)
        term, snapshot = name.decode("utf-8", "surrogateescape"), self._union.snapshot
        if term in snapshot.containers:
            return self._container(term)
        meant = snapshot.container_names.get(term)
        if meant is None:
            found = [container_id for container_id in snapshot.containers if container_id.startswith(term)]
            meant = found[0] if len(found) == 1 else None
        return None if meant is None else ContainerLink(f"{self.key}/{term}", meant)

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        yield _BY_NAME, NamesDirectory(self._union)
        for container_id in self._union.snapshot.containers:
            if container_id.encode() != _BY_NAME:  # as a client of containerd may call one
                yield container_id.encode(), self._container(container_id)

    def _container(self, container_id: str) -> "ContainerDirectory":
        return ContainerDirectory(f"{self.key}/{container_id}", container_id, self._union, self._trees)


class ContainerLink(Symlink):
    """A link to the directory of a container, in `containers/` or with `way` elsewhere."""

    name_may_change = True

    def __init__(self, key: str, container_id: str, way: bytes = b"") -> None:
        self.key = key
        self.target = way + container_id.encode()


class NamesDirectory(Directory):
    """`by-name/`: a link to each container that has a name."""

    key = "/containers/by-name"

    def __init__(self, union: Union) -> None:
        self._union = union

    def lookup(self, name: bytes) -> Node | None:
        text = name.decode("utf-8", "surrogateescape")
        meant = self._union.snapshot.container_names.get(text)
        return None if meant is None else self._link(text, meant)

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        for name, container_id in sorted(self._union.snapshot.container_names.items()):
            if "/" not in name:
                yield name.encode("utf-8", "surrogateescape"), self._link(name, container_id)

    def _link(self, name: str, container_id: str) -> ContainerLink:
        return ContainerLink(f"{self.key}/{name}", container_id, b"../")


class ContainerDirectory(FixedDirectory):
    """What is known of one container. Once that is gone, what was known last is shown."""

    def __init__(self, key: str, container_id: str, union: Union, trees: ContainerTrees) -> None:
        self.key = key
        self._id = container_id
        self._union = union
        self._trees = trees
        self._last = union.snapshot.containers[container_id]
        created = self._last.found.container.created
        self.mtime_ns = int(created.timestamp()) * 1_000_000_000 if created else 0
        self.makers = {
            b"rootfs": lambda: self._tree("rootfs"),
            b"upper": lambda: None if self._at.found.is_whole else self._tree("upper"),
            b"diff.tar": lambda: None if self._at.found.is_whole else self._diff_tar(),
            b"config.json": lambda: self._file("config.json", self._at.found.open_record),
            b"image": self._image,
            b"log": lambda: self._file("log", self._at.found.open_log),
            b"state": self._state,
        }

    @property
    def _at(self) -> ContainerAt:
        self._last = self._union.snapshot.containers.get(self._id, self._last)
        return self._last

    def _tree(self, name: str) -> Node:
        top = self._trees.table(self._at, name).top()
        top.name_may_change = True  # to the tree of a later moment
        return top

    def _diff_tar(self) -> Node:
        table = self._trees.table(self._at, "upper")
        tar = TreeImageFile(f"{table.key}.tar", table, RootFS.flat_tar, self.mtime_ns)
        tar.name_may_change = True  # to that of a later moment
        return tar

    def _file(self, name: str, open_file: Callable[[], Blob] | None) -> Node | None:
        return (
            None
            if open_file is None
            else LiveFile(f"{self.key}/{name}", open_file, self._at.source, self.mtime_ns)
        )

    def _image(self) -> Node | None:
        image = self._at.found.container.image
        link = None
        with suppress(ImgfsError):  # removed since
            if image is not None:
                link = ImageLink(f"{self.key}/image", b"../../images/", self._union.snapshot.by_digest(image))
                link.name_may_change = True  # gone once no source has it, which is not reported
        return link

    def _state(self) -> Node:
        def text() -> bytes:
            return f"{self._at.found.container.state.status}\n".encode()

        return LiveText(f"{self.key}/state", text, self.mtime_ns)


class LiveFile(File):
    """A file that the engine writes to: what `open_file` opens at the moment."""

    mutable = True
    name_may_change = True

    def __init__(self, key: str, open_file: Callable[[], Blob], source: Origin, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._open = open_file
        self._source = source

    @property
    def origins(self) -> tuple[Origin, ...]:
        return (self._source,)

    @property
    def known_size(self) -> int | None:
        return None

    def look_for_size(self) -> int | None:
        return self.find_size()

    def open(self) -> Blob:
        return self._open()
