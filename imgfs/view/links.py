"""Links to images: by their names (`tags/`), to those without children (`heads/`), to children."""

import logging
from collections.abc import Iterator, Mapping

from imgfs.budget import MIB, Budget
from imgfs.digest import ImageID
from imgfs.errors import TooMuch
from imgfs.sources.union import Snapshot, Union
from imgfs.view.node import Directory, Node, Symlink

logger = logging.getLogger("imgfs")

_Names = dict[bytes, "ImageID | _Names"]
_MAX_NAME, _MAX_PATH = 255, 4096
_MAX_PARTS = 128  # as many as the 255 bytes of the longest name that engines take can have
# bytes that directories of tags may take, and that one takes: as often as it is deep, as a program that walks all of
# them by path has the kernel ask for each directory above each
_MEMORY, _DIRECTORY = 192 * MIB, 500


class ImageLink(Symlink):
    """A link to the directory of an image; `way` leads to `images/`. It is as long whatever image it leads to."""

    def __init__(self, key: str, way: bytes, image_id: ImageID) -> None:
        self.key = key
        self.target = way + image_id.hex.encode()


class ChildrenDirectory(Directory):
    """`children/`: a link to each image that is based on one, as they are now."""

    def __init__(self, key: str, image_id: ImageID, union: Union, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._id = image_id
        self._union = union

    def lookup(self, name: bytes) -> Node | None:
        snapshot = self._union.snapshot
        child = snapshot.named(name)
        return self._link(child) if child is not None and snapshot.parents.get(child) == self._id else None

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        for child in self._union.snapshot.children.get(self._id, ()):
            yield child.hex.encode(), self._link(child)

    def _link(self, child: ImageID) -> ImageLink:
        return ImageLink(f"{self.key}/{child.hex}", b"../../", child)


class HeadsDirectory(Directory):
    """A link to each image that no other is based on, named by the hex of its ID."""

    key = "/heads"

    def __init__(self, union: Union) -> None:
        self._union = union

    def lookup(self, name: bytes) -> Node | None:
        snapshot = self._union.snapshot
        image_id = snapshot.named(name)
        return self._link(image_id) if image_id is not None and not snapshot.children.get(image_id) else None

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        for image_id in self._union.snapshot.heads:
            yield image_id.hex.encode(), self._link(image_id)

    def _link(self, image_id: ImageID) -> ImageLink:
        return ImageLink(f"{self.key}/{image_id.hex}", b"../images/", image_id)


class TagsDirectory(Directory):
    """The names of all images: each repository a directory, with a link for each tag.

    `REPOSITORY:TAG` is not listed but can be looked up, unless a directory has the place of the tag: then it is listed.
    So can a tag that a layout has without a repository.
    """

    def __init__(self, union: Union, tree: "TagTree | None" = None, path: tuple[bytes, ...] = ()) -> None:
        self.key = _key(path)
        self._union = union
        self._tree = tree or TagTree()
        self._path = path

    def lookup(self, name: bytes) -> Node | None:
        names = self._names()
        found = names.get(name)
        if found is not None:
            return self._node(name, found)
        repository, colon, tag = name.rpartition(b":")
        tags = names.get(repository)
        tagged = tags.get(tag) if colon and isinstance(tags, dict) else None
        if not self._path and not colon and not name.startswith(b"@"):
            tagged = self._union.snapshot.aliases.get(name.decode("utf-8", "surrogateescape"))
        if not isinstance(tagged, ImageID):
            return None
        link = self._node(name, tagged)
        link.name_may_change = True  # it is not reported when it is gone
        return link

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        for name, found in sorted(self._names().items()):
            yield name, self._node(name, found)

    def _names(self) -> Mapping[bytes, "ImageID | _Names"]:
        names = self._tree.names(self._union.snapshot)
        for part in self._path:
            below = names.get(part)
            if not isinstance(below, dict):
                return {}
            names = below
        return names

    def _node(self, name: bytes, found: "ImageID | _Names") -> Node:
        if isinstance(found, dict):
            return TagsDirectory(self._union, self._tree, (*self._path, name))
        key = f"{self.key}/{name.decode('utf-8', 'surrogateescape')}"
        return ImageLink(key, b"../" * (len(self._path) + 1) + b"images/", found)


class TagTree:
    """Names as a tree, made again when the images change."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._names: _Names = {}

    def names(self, snapshot: Snapshot) -> _Names:
        """The names at the top."""
        if snapshot is not self._snapshot:
            names: _Names = {}
            budget = Budget("tags", _MEMORY)
            try:
                for name, image_id in snapshot.tags.items():
                    path = name.encode("utf-8", "surrogateescape")
                    is_path = len(path) <= _MAX_PATH and path.count(b"/") < _MAX_PARTS
                    if not is_path or not _add(names, path.split(b"/"), image_id, budget):
                        logger.info("tag %r is no path, so it is not shown", name[:_MAX_PATH])
            except TooMuch as error:
                logger.warning("not all tags are shown: %s", error)
            self._snapshot, self._names = snapshot, names
        return self._names


def vanished_tags(tags: TagTree, before: Snapshot, after: Snapshot) -> Iterator[tuple[str, bytes]]:
    """The names in directories of tags that are gone or lead elsewhere, each after the key of its directory.

    `tags` is that of the directories, which has the names of one of the two already if they were looked into.
    """
    waiting: list[tuple[tuple[bytes, ...], _Names, _Names]]
    waiting = [((), tags.names(before), tags.names(after))]
    while waiting:
        path, old, new = waiting.pop()
        for name, was in old.items():
            now = new.get(name)
            if isinstance(was, dict) and isinstance(now, dict):
                waiting.append(((*path, name), was, now))
            elif now != was:
                yield _key(path), name


def _key(path: tuple[bytes, ...]) -> str:
    """The key of a directory of tags."""
    return b"/".join((b"/tags", *path)).decode("utf-8", "surrogateescape")


def _add(names: _Names, parts: list[bytes], image_id: ImageID, budget: Budget) -> bool:
    """Add a name that is a path; returns whether it is. Where it and a directory would be one, the directory stays."""
    repository, colon, tag = parts[-1].rpartition(b":")
    path = [*parts[:-1], repository, tag] if colon else parts
    if any(part in (b"", b".", b"..") or len(part) > _MAX_NAME or b"\0" in part for part in path):
        return False
    above: _Names = names
    for depth, part in enumerate(path[:-1], 1):
        below = names.get(part)
        if not isinstance(below, dict):
            budget.spend(_DIRECTORY * depth, "directories")
            if below is not None and depth > 1:
                above[path[depth - 2] + b":" + part] = below  # the tag that has been there
            below = names[part] = {}
        above, names = names, below
    if not isinstance(names.get(path[-1]), dict):
        names[path[-1]] = image_id
    elif colon:
        above[parts[-1]] = image_id
    return True
