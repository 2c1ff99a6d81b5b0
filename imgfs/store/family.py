"""Which image is based on which.

Parents are as recorded, so a parent may be an image that is not there. No image may be its own ancestor, so
that walking a family ends. Knows IDs only; its users do the locking.
"""

from collections.abc import Iterator, Mapping

from imgfs.digest import ImageID


class Family:
    """The parent of each image that has one, and the children of each image that has any.

    `parents` holds no rings.
    """

    def __init__(self, parents: Mapping[ImageID, ImageID]) -> None:
        self.parents = dict(parents)
        self._children: dict[ImageID, set[ImageID]] = {}
        for image_id, parent in parents.items():
            self._children.setdefault(parent, set()).add(image_id)

    def children(self, image_id: ImageID) -> list[ImageID]:
        """The images whose parent is this one, sorted."""
        return sorted(self._children.get(image_id, ()))

    def descends(self, image_id: ImageID, ancestor: ImageID) -> bool:
        """Whether an image is `ancestor` or is based on it, at whatever distance."""
        line: ImageID | None = image_id
        while line is not None and line != ancestor:
            line = self.parents.get(line)
        return line is not None

    def set_parent(self, image_id: ImageID, parent: ImageID | None) -> None:
        """Move an image from the parent it has to another or to none; `parent` does not descend from it."""
        old = self.parents.get(image_id)
        if old is not None:
            self._children[old].discard(image_id)
        if parent is None:
            self.parents.pop(image_id, None)
        else:
            self.parents[image_id] = parent  # in one step: `parents` is read without locking
            self._children.setdefault(parent, set()).add(image_id)


def rings(parents: Mapping[ImageID, ImageID]) -> Iterator[list[ImageID]]:
    """Every ring of images each of which has the next as its parent; takes time linear in their number."""
    settled: set[ImageID] = set()
    for start in parents:
        image_id, line = start, dict[ImageID, None]()
        while image_id in parents and image_id not in settled and image_id not in line:
            line[image_id] = None
            image_id = parents[image_id]
        if image_id in line:
            steps = list(line)
            yield steps[steps.index(image_id) :]
        settled.update(line)
