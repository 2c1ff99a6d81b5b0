"""What was chosen for a command to read: an image, or a container, each with its layers and its root file system.

Tried by the tests of names on the command line, and of the commands that read files.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from imgfs.cache import Cache
from imgfs.digest import DiffID, ImageID
from imgfs.errors import NotFound, StoreError
from imgfs.rootfs import RootFS, TreeCache
from imgfs.sources.union import ContainerAt, Snapshot
from imgfs.store import Image, ImageStore, LayerStack
from imgfs.tree import Tree

_SHORT = 12  # digits of an ID, as docker prints them


class LayerLabel(msgspec.Struct, frozen=True):
    """How a layer is shown: `label` is its number and the begin of what it is called by, `created_by` the step.

    `diff_id` is None for a layer that is a container's own.
    """

    label: str
    diff_id: DiffID | None
    created_by: str


@dataclass(frozen=True)
class ChosenRoot(ABC):
    """A root file system that was chosen: `term` is how it was named, `path` the path in it that was named with it."""

    term: str
    snapshot: Snapshot
    cache: Cache
    path: str | None

    @property
    @abstractmethod
    def id(self) -> str:
        """The ID as engines print it whole."""

    @property
    @abstractmethod
    def layers(self) -> LayerStack:
        """Its layers, bottom first. May block."""

    @property
    @abstractmethod
    def labels(self) -> Sequence[LayerLabel]:
        """How to show each of its layers, bottom first."""

    @property
    @abstractmethod
    def _name(self) -> str:
        """What to call it in the log and in errors."""

    def root_fs(self) -> RootFS:
        """What is seen of it by what runs in it; a context manager."""
        return RootFS.of(self.layers, self._trees, self._name)

    def trees(self) -> Iterator[Tree]:
        """The tree of each of its layers alone in columns, the lowest first. Raises what reading the layers raises."""
        return self._trees.each(self.layers, self._name)

    def layer_trees(self) -> Iterator[RootFS]:
        """The tree of each of its layers alone, the lowest first."""
        layers, trees = self.layers, self._trees
        for number in range(len(layers.diff_ids)):
            yield RootFS.of(layers, trees, self._name, only=number)

    @cached_property
    def _trees(self) -> TreeCache:
        return TreeCache(self.cache.of(self.snapshot.writers))


@dataclass(frozen=True)
class ChosenImage(ChosenRoot):
    """An image that was chosen; `name` is the name that it was found by, None if it was found in another way."""

    image_id: ImageID
    name: str | None

    @property
    def image(self) -> Image:
        """The image itself."""
        return self.snapshot.images[self.image_id]

    @property
    def id(self) -> str:
        return self.image_id

    @property
    def store(self) -> ImageStore:
        """The store of the source that has all of its layers if any has. May block."""
        return self.snapshot.source_of(self.image_id).store

    @property
    def layers(self) -> LayerStack:
        return self.store.layers(self.image_id)

    @property
    def labels(self) -> Sequence[LayerLabel]:
        return _labels(self.image.diff_ids, self.image.layer_steps)

    @property
    def _name(self) -> str:
        return f"image {self.image_id}"


@dataclass(frozen=True)
class ChosenContainer(ChosenRoot):
    """A container that was chosen. Its own layer is read once, so that all that is seen of it is of one moment."""

    at: ContainerAt

    @property
    def id(self) -> str:
        return self.at.found.container.id

    @cached_property
    def layers(self) -> LayerStack:
        return self.at.source.container_layers(self.at.found)

    @property
    def labels(self) -> Sequence[LayerLabel]:
        found, container = self.at.found, self.at.found.container
        image = self.snapshot.images.get(container.image) if container.image is not None else None
        diff_ids = tuple(found.diff_ids)
        steps = (
            image.layer_steps if image is not None and image.diff_ids == diff_ids else [""] * len(diff_ids)
        )
        step = f"container {container.name or container.id[:_SHORT]}"
        own = [
            # as Docker calls the layer of what it makes for the container before that starts
            LayerLabel(f"{number:02}-{container.id[:_SHORT]}{'' if is_last else '-init'}", None, step)
            for number, is_last in enumerate([*[False] * (len(found.own) - 1), True], len(diff_ids))
        ]
        return [*_labels(diff_ids, steps), *own]

    def own_fs(self) -> RootFS:
        """What it changed alone, with whiteouts as files. Raises StoreError if that is not kept apart."""
        if self.at.found.is_whole:
            raise StoreError(f"{self.term}: its storage driver does not keep apart what it changed")
        return RootFS.of(self.layers, self._trees, self._name, only=len(self.layers.diff_ids) - 1)

    def base_fs(self) -> RootFS:
        """What the container saw before it changed anything. Raises NotFound if that is not known any more."""
        found = self.at.found
        if not found.is_whole:
            below = self.layers.lowest(len(found.diff_ids) + len(found.own) - 1)
            return RootFS.of(below, self._trees, self._name)
        image = found.container.image
        if image is None or image not in self.snapshot.images:
            raise NotFound(
                f"{self.term}: its image is not there to compare it with: {found.container.image_name}"
            )
        return ChosenImage(self.term, self.snapshot, self.cache, None, image, None).root_fs()

    @property
    def _name(self) -> str:
        return f"container {self.id}"


def _labels(diff_ids: Sequence[DiffID], steps: Sequence[str]) -> list[LayerLabel]:
    return [
        LayerLabel(f"{number:02}-{diff_id.short}", diff_id, step)
        for number, (diff_id, step) in enumerate(zip(diff_ids, steps, strict=True))
    ]
