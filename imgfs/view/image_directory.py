"""`images/<id>/`: what is known of one image."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass

from imgfs.blob import Blob
from imgfs.rootfs import RootFS
from imgfs.sources.union import Union
from imgfs.store import Image
from imgfs.view.docker_tar import DockerTar
from imgfs.view.history import HistoryFile
from imgfs.view.image_layout import ImageLayout
from imgfs.view.image_origin import ImageOrigin
from imgfs.view.layers_directory import LayersDirectory
from imgfs.view.links import ChildrenDirectory
from imgfs.view.node import FixedDirectory, Node
from imgfs.view.saved_images import SavedImages
from imgfs.view.tars import RootfsTar, TreeImageFile
from imgfs.view.texts import LiveText, TextFile
from imgfs.view.trees import Trees, TreeTable


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """`verbatim_tar` shows rootfs.tar as the plain concatenation of the layer tars, instead of joined.

    `links_inside` shows absolute symbolic links of root file systems and layers as relative ones, which lead inside.
    """

    verbatim_tar: bool = False
    links_inside: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """What the directories of all images share: the images there are, how to show them, what is known of them."""

    union: Union
    options: ViewOptions
    trees: Trees
    saved: SavedImages


class ImageDirectory(FixedDirectory):
    """The directory of `image`, wherever that is. Its nodes are made when they are looked up.

    There is no manifest.json where no source has one; no rootfs.tar, no docker.tar and no oci/ where no source has a
    tar of each layer.
    """

    def __init__(self, key: str, image: Image, context: Context) -> None:
        self.key = key
        self.mtime_ns = _nanoseconds(image.created)
        self._image = image
        self._origin = ImageOrigin(image.id, context.union)
        self._context = context
        self.makers = {
            b"config.json": self._config,
            b"parent": self._parent,
            b"children": self._children,
            b"history": self._history,
            b"tags": self._tags,
            b"layers": self._layers,
            b"rootfs": self._rootfs,
            b"rootfs.tar": self._rootfs_tar,
            b"rootfs.erofs": self._rootfs_erofs,
            b"flat.tar": self._flat_tar,
            b"manifest.json": self._manifest,
            b"oci": self._oci,
            b"docker.tar": self._docker_tar,
        }

    def _live(self, name: str, make: Callable[[], str]) -> Node:
        return LiveText(
            f"{self.key}/{name}", lambda: make().encode("utf-8", "surrogateescape"), self.mtime_ns
        )

    def _config(self) -> Node:
        return TextFile(f"{self.key}/config.json", self._image.raw_config, self.mtime_ns)

    def _manifest(self) -> Node | None:
        def content() -> bytes | None:
            found = (source.manifest(self._image.id) for source in self._origin.sources)
            return next((manifest for manifest in found if manifest is not None), None)

        # live, as the same image may be stored again with its layers in other blobs
        key = f"{self.key}/manifest.json"
        if content() is None:
            return None
        manifest = LiveText(key, lambda: content() or b"", self.mtime_ns)
        manifest.name_may_change = True  # gone once no source has one, which is not reported
        return manifest

    def _parent(self) -> Node:
        def text() -> str:
            parent = self._context.union.snapshot.parents.get(self._image.id)
            return f"{parent}\n" if parent else ""

        return self._live("parent", text)

    def _children(self) -> Node:
        union = self._context.union
        return ChildrenDirectory(f"{self.key}/children", self._image.id, union, self.mtime_ns)

    def _history(self) -> Node:
        return HistoryFile(f"{self.key}/history", self._image, self._origin, self.mtime_ns)

    def _tags(self) -> Node:
        def text() -> str:
            return "".join(f"{name}\n" for name in self._context.union.snapshot.tags_of(self._image.id))

        return self._live("tags", text)

    def _layers(self) -> Node:
        trees = self._context.trees
        return LayersDirectory(f"{self.key}/layers", self._image, self._origin, trees, self.mtime_ns)

    def _tree(self) -> TreeTable:
        return self._context.trees.table(f"{self.key}/rootfs", self._origin, self.mtime_ns)

    def _rootfs(self) -> Node:
        return self._tree().top()

    @property
    def _may_have_tars(self) -> bool:
        return self._origin.any_layers(lambda layers: layers.may_have_tars)

    def _rootfs_tar(self) -> Node | None:
        if not self._may_have_tars:
            return None
        key, verbatim = f"{self.key}/rootfs.tar", self._context.options.verbatim_tar
        return RootfsTar(key, self._origin, verbatim, self.mtime_ns)

    def _oci(self) -> Node | None:
        if not self._may_have_tars:
            return None
        union, saved = self._context.union, self._context.saved
        return ImageLayout(f"{self.key}/oci", self._image, self._origin, union, saved, self.mtime_ns)

    def _docker_tar(self) -> Node | None:
        if not self._may_have_tars:
            return None
        key, names = f"{self.key}/docker.tar", self._context.union.snapshot.tags_of(self._image.id)
        return DockerTar(key, self._image, names, self._origin, self._context.saved, self.mtime_ns)

    def _flat_tar(self) -> Node:
        return TreeImageFile(f"{self.key}/flat.tar", self._tree(), RootFS.flat_tar, self.mtime_ns)

    def _rootfs_erofs(self) -> Node:
        links_inside = self._context.options.links_inside

        def image(root: RootFS) -> Blob:
            return root.erofs_image(root.erofs_plan(links_inside=links_inside))

        return TreeImageFile(f"{self.key}/rootfs.erofs", self._tree(), image, self.mtime_ns)


def _nanoseconds(when: datetime.datetime | None) -> int:
    return int(when.timestamp()) * 1_000_000_000 if when else 0
