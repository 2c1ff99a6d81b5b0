"""Finding the image that a person means among named images."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from imgfs.digest import ImageID
from imgfs.errors import AmbiguousID, ImageNotFound, printable
from imgfs.sources.reference import spellings, with_digest
from imgfs.store import DigestIndex

_DIGEST = re.compile(r"(?:[a-z0-9]+:)?[0-9a-f]+")


class NamedImages:
    """Images found by their names in `tags`, as `printable` writes them, and by their IDs, which are `ids`.

    `aliases` are names that are looked up and not listed, see `FoundImage`.
    """

    tags: Mapping[str, ImageID]
    aliases: Mapping[str, ImageID]
    ids: DigestIndex

    def tags_of(self, image_id: ImageID) -> Sequence[str]:
        """The names of one image."""
        return self._names.get(image_id, ())

    def repo_digests(self, image_id: ImageID) -> Sequence[str]:
        """Names of one image with the digest of a manifest: as recorded, or its repositories with each digest known."""
        aliases = self._aliases.get(image_id, ())
        recorded = [alias for alias in aliases if alias.find("@") > 0]
        digests = [alias[1:] for alias in aliases if alias.startswith("@sha")]
        tags = self.tags_of(image_id)
        return recorded or [name for digest in digests for name in with_digest(tags, digest)]

    def name_meant(self, term: str) -> str | None:
        """The listed name of the image that a person names, None if `term` is no name of one.

        What engines put before it by themselves may be left out, as in `docker.io/library/debian:latest`.
        """
        name = _first(term, self.tags)
        alias = _first(term, self.aliases) if name is None else None
        if alias is None or "@sha" in alias:
            return name
        tags = self.tags_of(self.aliases[alias])
        return next((tag for tag in tags if tag.endswith(f":{alias}")), next(iter(tags), None))

    def resolve(self, term: str) -> ImageID:
        """The image that a person means: by name, ID, unique prefix of an ID, or `[NAME]@DIGEST`.

        DIGEST is the image's ID or that of a manifest that leads to it, which Docker shows as the ID where it keeps
        images in containerd. Raises ImageNotFound or AmbiguousID.
        """
        for known in (self.tags, self.aliases):
            name = _first(term, known)
            if name is not None:
                return known[name]
        digest = term.rpartition("@")[2]
        if not digest or ("@" in term and ":" not in digest):
            raise ImageNotFound(term)
        return self.by_digest(digest)

    def by_digest(self, term: str) -> ImageID:
        """The image with this ID, or that a manifest or an index with this digest leads to; a unique prefix is enough.

        Raises ImageNotFound or AmbiguousID.
        """
        try:
            return ImageID(self.ids.search(term))
        except ImageNotFound:
            if not _DIGEST.fullmatch(term):  # there may be many names to compare it with
                raise
        wanted = f"@{term}" if ":" in term else f"@sha256:{term}"
        found = {image_id for alias, image_id in self.aliases.items() if alias.startswith(wanted)}
        if len(found) > 1:
            raise AmbiguousID(term)
        if not found:
            raise ImageNotFound(term)
        return found.pop()

    @cached_property
    def _names(self) -> Mapping[ImageID, Sequence[str]]:
        return _by_image(self.tags)

    @cached_property
    def _aliases(self) -> Mapping[ImageID, Sequence[str]]:
        return _by_image(self.aliases)


@dataclass(frozen=True)
class Names(NamedImages):
    """Names and IDs of images of which nothing else is known."""

    tags: Mapping[str, ImageID]
    ids: DigestIndex
    aliases: Mapping[str, ImageID] = field(default_factory=dict)


def _by_image(names: Mapping[str, ImageID]) -> Mapping[ImageID, Sequence[str]]:
    found: dict[ImageID, list[str]] = {}
    for name, image_id in names.items():
        found.setdefault(image_id, []).append(name)
    return found


def _first(term: str, known: Mapping[str, ImageID]) -> str | None:
    """The likeliest name among those in `known` that a person may mean."""
    return next((name for name in spellings(printable(term)) if name in known), None)
