"""Finding the image that a person means among named images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from imgfs.digest import ImageID
from imgfs.errors import ImageNotFound, printable
from imgfs.sources.reference import spellings
from imgfs.store import DigestIndex


class NamedImages:
    """Images found by their names in `tags`, as `printable` writes them, and by their IDs, which are `ids`."""

    tags: Mapping[str, ImageID]
    ids: DigestIndex

    def tags_of(self, image_id: ImageID) -> Sequence[str]:
        """The names of one image."""
        return self._names.get(image_id, ())

    def name_meant(self, term: str) -> str | None:
        """The name that a person means, None if there is none like it.

        What engines put before it by themselves may be left out, as in `docker.io/library/debian:latest`.
        """
        return next((name for name in spellings(printable(term)) if name in self.tags), None)

    def resolve(self, term: str) -> ImageID:
        """The image that a person means: by name, ID or unique prefix of an ID.

        Raises ImageNotFound or AmbiguousID.
        """
        name = self.name_meant(term)
        if name is not None:
            return self.tags[name]
        if not term:
            raise ImageNotFound(term)
        return ImageID(self.ids.search(term))

    @cached_property
    def _names(self) -> Mapping[ImageID, Sequence[str]]:
        names: dict[ImageID, list[str]] = {}
        for name, image_id in self.tags.items():
            names.setdefault(image_id, []).append(name)
        return names


@dataclass(frozen=True)
class Names(NamedImages):
    """Names and IDs of images of which nothing else is known."""

    tags: Mapping[str, ImageID]
    ids: DigestIndex
