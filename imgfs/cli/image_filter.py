"""`--filter` of `imgfs ls`, and the names of images given to it, as `docker images` takes both.

Format: Docker, `docker image ls`, "Filtering".
Tried by the tests of `imgfs ls`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import click

from imgfs.cli.moments import parse_moment
from imgfs.digest import ImageID
from imgfs.errors import ImgfsError
from imgfs.globs import glob_matcher
from imgfs.sources.reference import familiar_name, spellings, split_name
from imgfs.sources.union import Snapshot
from imgfs.store import Image

Condition = Callable[[Image], bool]


class ImageFilter:
    """The images that meet all conditions of `--filter`, each `KEY=VALUE`; of a `reference` any one.

    Raises click.UsageError, or ImageNotFound or AmbiguousID for an image that others are compared with.
    """

    def __init__(self, conditions: Sequence[str], snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._conditions: list[Condition] = []
        patterns: list[str] = []
        for text in conditions:
            key, equals, value = text.partition("=")
            make = self._makers.get(key)
            if not equals or (make is None and key != "reference"):
                known = ", ".join(sorted([*self._makers, "reference"]))
                raise click.UsageError(f"--filter {text}: invalid filter (filters are {known}, each with =)")
            if make is None:
                patterns.append(value)
            else:
                self._conditions.append(make(value))
        self._name_matches = name_matcher(patterns) if patterns else None

    def matches(self, image: Image) -> bool:
        """Whether an image is to be listed; its names count in `names`."""
        has_name = self._name_matches is None or bool(self.names(image.id))
        return has_name and all(condition(image) for condition in self._conditions)

    def names(self, image_id: ImageID) -> list[str]:
        """The names of an image that are to be listed."""
        names = self._snapshot.tags_of(image_id)
        return list(filter(self._name_matches, names)) if self._name_matches else list(names)

    @property
    def _makers(self) -> Mapping[str, Callable[[str], Condition]]:
        return {
            "before": self._before,
            "dangling": self._dangling,
            "label": _label,
            "since": self._since,
            "until": _until,
        }

    def _dangling(self, value: str) -> Condition:
        if value.lower() not in ("true", "false", "1", "0"):
            raise click.UsageError(f"--filter dangling={value}: neither true nor false")
        wanted = value.lower() in ("true", "1")
        return lambda image: wanted == (not self._snapshot.tags_of(image.id))

    def _before(self, value: str) -> Condition:
        moment = self._created(value)
        return lambda image: (image.created or _NEVER) < moment

    def _since(self, value: str) -> Condition:
        moment = self._created(value)
        return lambda image: (image.created or _NEVER) > moment

    def _created(self, term: str) -> datetime:
        return self._snapshot.images[self._snapshot.resolve(term)].created or _NEVER


def name_matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """A function that says whether a name, or its repository, matches any of some patterns.

    What engines put before a name by themselves may be there or not.
    """
    meant = {spelling for pattern in patterns for spelling in spellings(pattern)}
    globs = [glob_matcher(pattern) for pattern in patterns]

    def matches(name: str) -> bool:
        shapes = {name, familiar_name(name), name.removeprefix("localhost/")}
        candidates = filter(None, [*shapes, *(split_name(shape)[0] for shape in shapes)])
        return any(each in meant or any(glob(each) for glob in globs) for each in candidates)

    return matches


_NEVER = datetime(1, 1, 1, tzinfo=UTC)
"""Stands for a time that is not known: before all others."""


def _label(value: str) -> Condition:
    key, equals, wanted = value.partition("=")

    def has_label(image: Image) -> bool:
        try:
            labels = image.config.labels or {}
        except ImgfsError:
            return False
        return key in labels and (not equals or labels[key] == wanted)

    return has_label


def _until(value: str) -> Condition:
    try:
        moment = parse_moment(value)
    except ValueError as error:
        raise click.UsageError(f"--filter until={error}") from None
    return lambda image: (image.created or _NEVER) < moment
