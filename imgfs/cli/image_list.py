"""The images that `imgfs ls` lists: chosen by source, name and filter, newest first.

Tried by the tests of `imgfs ls`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from imgfs.cli.image_filter import ImageFilter, name_matcher
from imgfs.cli.messages import utf8
from imgfs.digest import Digest, ImageID
from imgfs.errors import printable
from imgfs.sources import Source
from imgfs.sources.image_reference import ImageReference
from imgfs.sources.union import Snapshot, Union
from imgfs.store import Image

_FIRST = datetime(1, 1, 1, tzinfo=UTC)  # sorts images of unknown age last


@dataclass(frozen=True, slots=True)
class Listed:
    """An image in a list, with its names that are listed; or an artifact, which has no `image`."""

    id: Digest
    tags: Sequence[str]
    sources: Sequence[Source]
    type: str = "image"
    image: Image | None = None
    parent: ImageID | None = None
    snapshot: Snapshot | None = None

    @classmethod
    def of(cls, snapshot: Snapshot, image: Image, tags: Sequence[str]) -> "Listed":
        """An image of a snapshot, with these of its names."""
        sources, parent = snapshot.sources[image.id], snapshot.parents.get(image.id)
        return cls(image.id, tags, sources, image=image, parent=parent, snapshot=snapshot)

    @property
    def size(self) -> int | None:
        """The size of its layers in bytes as engines record it, None if it is not known. May block."""
        if self.image is None:
            return None
        stacks = (source.store.layers(self.image.id) for source in self.sources)
        return next((size for stack in stacks if (size := stack.listed_size()) is not None), None)

    @property
    def repo_digests(self) -> Sequence[str]:
        """Its names with the digest of its manifest instead of a tag, where that is known."""
        if self.image is None or self.snapshot is None:
            return ()
        return self.snapshot.repo_digests(self.image.id)

    def manifest(self) -> bytes | None:
        """The exact bytes of its manifest, from the first source that has that."""
        if self.image is None:
            return None
        manifests = (source.manifest(self.image.id) for source in self.sources)
        return next((manifest for manifest in manifests if manifest is not None), None)

    @property
    def created(self) -> datetime | None:
        """When it was made, in UTC."""
        return None if self.image is None else self.image.created

    def fields(self) -> dict[str, object]:
        """It, as `--json` prints it."""
        return {
            "id": self.id,
            "type": self.type,
            "tags": self.tags,
            "created": self.created.isoformat() if self.created else None,
            "layers": None if self.image is None else len(self.image.diff_ids),
            "size": self.size,
            "parent": self.parent,
            **({"parent_derived": True} if self.snapshot and self.id in self.snapshot.derived else {}),
            "sources": [utf8(source.reference) for source in self.sources],
        }


class ImageList:
    """Images of `union` that meet `conditions`, as `ImageFilter` has them."""

    def __init__(self, union: Union, conditions: Sequence[str]) -> None:
        self._union = union
        self._snapshot = union.snapshot
        self._filter = ImageFilter(conditions, union.snapshot)

    def images(self, references: Sequence[ImageReference], *, with_intermediates: bool) -> list[Listed]:
        """The images of each reference, or all if there is none, newest first.

        A name may be that of a repository, or a pattern. Images without names that others are based on, as builds
        leave them, are there only if they were named by ID or with `with_intermediates`. Raises ImageNotFound or
        AmbiguousID for a name that matches nothing.
        """
        everything = self._all(with_intermediates)
        names = self._named(references, everything) if references else everything
        images = filter(self._filter.matches, (self._snapshot.images[image_id] for image_id in names))
        newest = sorted(images, key=lambda image: image.created or _FIRST, reverse=True)
        return [Listed.of(self._snapshot, image, names[image.id]) for image in newest]

    def artifacts(self) -> list[Listed]:
        """What is no image."""
        return [
            Listed(
                artifact.digest,
                [printable(tag) for tag in artifact.tags],
                sources,
                printable(artifact.type) or "unknown",
            )
            for artifact, sources in self._union.artifacts
        ]

    def _all(self, with_intermediates: bool) -> Mapping[ImageID, Sequence[str]]:
        children, tags_of = self._snapshot.children, self._snapshot.tags_of
        return {
            image_id: self._filter.names(image_id)
            for image_id in self._snapshot.images
            if with_intermediates or image_id not in children or tags_of(image_id)
        }

    def _named(
        self, references: Iterable[ImageReference], everything: Mapping[ImageID, Sequence[str]]
    ) -> Mapping[ImageID, Sequence[str]]:
        found: dict[ImageID, list[str]] = {}
        for reference in references:
            source = self._union.named.get(reference.source or "")
            if reference.source is not None and source is None:  # skipped with a warning
                continue
            there = {
                image_id: names
                for image_id, names in everything.items()
                if source is None or source in self._snapshot.sources[image_id]
            }
            meant = self._matching(reference.name, there) if reference.name else there
            for image_id, names in meant.items():
                known = found.setdefault(image_id, [])
                known += [name for name in names if name not in known]
        return found

    def _matching(self, name: str, there: Mapping[ImageID, Sequence[str]]) -> Mapping[ImageID, Sequence[str]]:
        """The images whose names match, each with the names that do, or else the one with that ID."""
        matches = name_matcher([name])
        found = {image_id: list(filter(matches, names)) for image_id, names in there.items()}
        found = {image_id: names for image_id, names in found.items() if names}
        if not found:
            image_id = self._snapshot.resolve(name)
            found = {image_id: self._filter.names(image_id)}
        return found
