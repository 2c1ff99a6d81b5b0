"""The top of the mounted tree."""

from collections.abc import Iterator

from imgfs.cache import Cache
from imgfs.registry.stats import Stats
from imgfs.rootfs import TreeCache
from imgfs.sources.union import Snapshot, Union
from imgfs.view.container_trees import ContainerTrees
from imgfs.view.containers_directory import ContainersDirectory
from imgfs.view.image_directory import Context, ViewOptions
from imgfs.view.images_directory import ImagesDirectory
from imgfs.view.links import HeadsDirectory, TagsDirectory, TagTree, vanished_tags
from imgfs.view.mount_layout import MountLayout
from imgfs.view.node import Directory, Node
from imgfs.view.own_directory import OwnDirectory
from imgfs.view.saved_images import SavedImages
from imgfs.view.trees import Trees
from imgfs.view.usage import Usage


class RootDirectory(Directory):
    """Everything that `union` has; `cache` keeps what takes long to work out. `usage` is how much that is.

    `stats` are shown if they are given, in a directory that is not listed.
    """

    key = "/"

    def __init__(
        self, union: Union, options: ViewOptions, cache: Cache | None = None, stats: Stats | None = None
    ) -> None:
        self._trees = Trees(TreeCache(cache), links_inside=options.links_inside)
        self._containers = ContainerTrees(self._trees)
        self._tags = TagTree()
        self._saved = SavedImages(union)
        self._union = union
        self.usage = Usage(union, self._trees)
        self._own = OwnDirectory(stats) if stats is not None else None
        self._seen = union.snapshot  # that names which are gone were last reported for
        self._entries: dict[bytes, Node] = {
            b"images": ImagesDirectory(Context(union, options, self._trees, self._saved)),
            b"tags": TagsDirectory(union, self._tags),
            b"heads": HeadsDirectory(union),
            b"oci": MountLayout(union, self._saved),
        }

    def close(self) -> None:
        """Let go of the layers that are open."""
        self._trees.close()

    def vanished(self) -> list[tuple[str, bytes]]:
        """The names that are gone, or lead to something else, since the last call.

        Each comes after the key of the directory that it was in.
        """
        before, self._seen = self._seen, self._union.snapshot
        after = self._seen
        if after is before:
            return []
        for container_id in before.containers.keys() - after.containers.keys():
            self._containers.forget(container_id)
        for image_id in before.images.keys() - after.images.keys():
            self._saved.forget(image_id)
        return list(_vanished(self._tags, before, after))

    def lookup(self, name: bytes) -> Node | None:
        if name == b".imgfs":
            return self._own
        return self._containers_directory() if name == b"containers" else self._entries.get(name)

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        yield from self._entries.items()
        containers = self._containers_directory()
        if containers is not None:
            yield b"containers", containers

    def _containers_directory(self) -> Node | None:
        """`containers/`, if there are any: most sources are no place for them."""
        if not self._union.snapshot.containers:
            return None
        directory = ContainersDirectory(self._union, self._containers)
        directory.name_may_change = True  # gone once there are none, which is not reported
        return directory


def _vanished(tags: TagTree, before: Snapshot, after: Snapshot) -> Iterator[tuple[str, bytes]]:
    for image_id in before.images.keys() - after.images.keys():
        yield ImagesDirectory.key, image_id.hex.encode()
    for image_id in set(before.heads).difference(after.heads):
        yield HeadsDirectory.key, image_id.hex.encode()
    for image_id, children in before.children.items():
        for child in set(children).difference(after.children.get(image_id, ())):
            yield f"{ImagesDirectory.key}/{image_id.hex}/children", child.hex.encode()
    for container_id in before.containers.keys() - after.containers.keys():
        yield ContainersDirectory.key, container_id.encode()
    yield from vanished_tags(tags, before, after)
