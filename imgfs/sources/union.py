"""Several sources seen as one: the same image in two of them is one image.

What is seen is a `Snapshot`, replaced as a whole when a source changes, so that a reader of one sees one
moment of all sources.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import product
from threading import Lock
from typing import NamedTuple

import msgspec

from imgfs.digest import ChainID, DiffID, Digest, ImageID
from imgfs.errors import ImageNotFound, ImgfsError, InvalidDigest, describe, is_lost, printable
from imgfs.layers import Layer, chain_ids
from imgfs.sources.finder import Artifact, FoundContainer
from imgfs.sources.names import NamedImages, Names
from imgfs.sources.source import Source
from imgfs.store import DigestIndex, Image, Problem, Problems
from imgfs.store.family import rings


class ContainerAt(NamedTuple):
    """A container, and the first source that has it."""

    found: FoundContainer
    source: Source


@dataclass(frozen=True)
class Snapshot(NamedImages):
    """All images of all sources at one moment.

    `sources` tells which sources have an image, in their order. A parent may be an image that no source has; only
    images that are there have children. No parent is recorded of the images in `derived`: theirs are those that an
    engine derives. `tags` are names as `printable` writes them. `wanted` are the images that were asked for: all, or
    where a source was restricted to some, those and not their parents. `containers` are by ID; those of a source that
    was restricted to images are not among them.
    """

    images: Mapping[ImageID, Image]
    sources: Mapping[ImageID, Sequence[Source]]
    parents: Mapping[ImageID, ImageID]
    children: Mapping[ImageID, Sequence[ImageID]]
    tags: Mapping[str, ImageID]
    ids: DigestIndex
    aliases: Mapping[str, ImageID] = field(default_factory=dict)
    containers: Mapping[str, ContainerAt] = field(default_factory=dict)
    wanted: Sequence[ImageID] = ()
    derived: Set[ImageID] = frozenset()
    _chosen: dict[ImageID, Source] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def writers(self) -> frozenset[int]:
        """The users who decide what is in the sources of these images."""
        sources = {source for having in self.sources.values() for source in having}
        return frozenset[int]().union(*(source.writers for source in sources))

    @cached_property
    def container_names(self) -> Mapping[str, str]:
        """The ID of the container of each name, as `printable` writes it; of equal names, the first one's."""
        names: dict[str, str] = {}
        for container_id, (found, _) in self.containers.items():
            if found.container.name:
                names.setdefault(printable(found.container.name), container_id)
        return names

    @cached_property
    def heads(self) -> list[ImageID]:
        """The images that no other is based on."""
        return [image_id for image_id in self.images if not self.children.get(image_id)]

    def named(self, name: bytes) -> ImageID | None:
        """The image whose ID has `name` as its hex."""
        try:
            image_id = ImageID.from_hex(name.decode("ascii", "replace"))
        except InvalidDigest:
            return None
        return image_id if image_id in self.images else None

    def source_of(self, image_id: ImageID) -> Source:
        """The source to read an image from: the first that has all its layers, or if none has, the first.

        Opens the layers to find out, so it may block. Raises ImageNotFound.
        """
        sources = self.sources.get(image_id)
        if sources is None:
            raise ImageNotFound(image_id)
        chosen = sources[0]
        if len(sources) > 1:
            chosen = next(filter(partial(_has_layers, image_id), sources), chosen)
            self._chosen[image_id] = chosen
        return chosen

    def chosen_source(self, image_id: ImageID) -> Source | None:
        """The source that `source_of` returned last, or the only one there is, else None. Never blocks."""
        sources = self.sources.get(image_id, ())
        return sources[0] if len(sources) == 1 else self._chosen.get(image_id)

    def forget_choice(self, image_id: ImageID) -> None:
        """Have `chosen_source` know nothing of an image, as reading it failed."""
        self._chosen.pop(image_id, None)


class Union:
    """The images of `sources`, earlier ones before later ones; owns them. `skipped` says which are not among them.

    `named` has the sources by the references that the user named them by. Of a source in `only`, what is seen are the
    images that have the names or IDs there, and their parents.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        skipped: Problems | None = None,
        named: Mapping[str, Source] | None = None,
        only: Mapping[Source, Sequence[str]] | None = None,
    ) -> None:
        self.sources = tuple(sources)
        self.named = named or {source.reference: source for source in sources}
        self.only = only or {}
        self.writers = frozenset[int]().union(*(source.writers for source in self.sources))
        self.skipped = skipped or Problems()
        self._lock = Lock()  # held while nothing blocks
        self._refreshing = {source: Lock() for source in sources}
        self._failures = {source: Problems(source.reference) for source in sources}
        self._lost: set[Source] = set()
        self._contents = {source: _look(source, {}) for source in self.sources}
        self.snapshot = _snapshot(self._contents, self.only)
        for source in self.sources:
            source.layers.elsewhere = partial(self._elsewhere, source) if len(self.sources) > 1 else None

    @property
    def refreshers(self) -> Sequence[Callable[[], bool]]:
        """For each source what follows its changes and returns whether there were any; one waits for no other.

        A source that fails keeps what it had.
        """
        return [partial(self._follow, source) for source in self.sources]

    def refresh(self) -> bool:
        """Follow changes in all sources; returns whether there were any."""
        changed = [refresh() for refresh in self.refreshers]
        return any(changed)

    @property
    def problems(self) -> Sequence[tuple[str, Problem]]:
        """What is broken and skipped in the sources, each with the reference of its source; "" for a whole source."""
        found = [("", problem) for problem in self.skipped]
        for source in self.sources:
            # of a source that was restricted, others than its images are no concern
            problems = (
                problem for problem in source.problems if source not in self.only or not problem.image
            )
            found += [(source.reference, problem) for problem in (*self._failures[source], *problems)]
        return found

    @property
    def artifacts(self) -> Sequence[tuple[Artifact, Sequence[Source]]]:
        """What is no image, each once, with the sources that have it; its names are those of all of them."""
        found: dict[Digest, tuple[Artifact, dict[Source, None]]] = {}
        for source in self.sources:
            for artifact in source.artifacts:
                known, sources = found.setdefault(artifact.digest, (artifact, {}))
                tags = tuple(dict.fromkeys((*known.tags, *artifact.tags)))
                found[artifact.digest] = replace(known, tags=tags), sources | {source: None}
        return [(artifact, tuple(sources)) for artifact, sources in found.values()]

    def close(self) -> None:
        """Close every source."""
        for source in self.sources:
            source.layers.elsewhere = None
            source.close()

    def _elsewhere(self, asking: Source, diff_id: DiffID) -> Iterator[Layer]:
        """The layers with this diff ID in all sources but one, whatever they lie upon."""
        snapshot = self.snapshot
        seen: set[tuple[Source, ChainID]] = set()
        for image_id, image in snapshot.images.items():
            if diff_id not in image.diff_ids:
                continue
            stack = list(zip(chain_ids(image.diff_ids), image.diff_ids, strict=True))
            places = {chain_id for chain_id, found in stack if found == diff_id}
            for place in product(snapshot.sources[image_id], places):
                if place[0] is not asking and place not in seen:
                    seen.add(place)
                    with suppress(ImgfsError, OSError):  # not there either
                        yield place[0].layers.peek(place[1])

    def _follow(self, source: Source) -> bool:
        with self._refreshing[source]:
            if not self._refresh(source):
                return False
            contents = _look(source, self._contents[source].images)
        with self._lock:
            self._contents[source] = contents
            self.snapshot = _snapshot(self._contents, self.only)
        return True

    def _refresh(self, source: Source) -> bool:
        try:
            changed = source.refresh()
        except (ImgfsError, OSError) as error:
            if is_lost(error):
                source.report_lost(describe(error))
                self._lost.add(source)
            else:
                self._failures[source].report(describe(error))
            return False
        self._failures[source].clear()
        if source in self._lost:
            self._lost.remove(source)
            source.find_again()
        return changed


def _has_layers(image_id: ImageID, source: Source) -> bool:
    try:
        return source.store.layers(image_id).is_there
    except ImageNotFound:  # it has gone since
        return False


class _Contents(msgspec.Struct, frozen=True):
    """What a source has at one moment."""

    images: Mapping[ImageID, Image]
    tags: Mapping[str, ImageID]
    aliases: Mapping[str, ImageID]
    containers: Mapping[str, FoundContainer]
    derived: Mapping[ImageID, ImageID]

    def parent(self, image_id: ImageID) -> ImageID | None:
        """The parent of an image: the recorded one, or else the derived one."""
        return self.images[image_id].parent or self.derived.get(image_id)


def _look(source: Source, known: Mapping[ImageID, Image]) -> _Contents:
    """What a source has now; configs of the images in `known` are not read again."""
    images = source.store.map(known)
    tags: dict[str, ImageID] = {}
    for name, image_id in source.tags.items():
        if image_id in images:
            tags.setdefault(printable(name), image_id)
    aliases = {name: image_id for name, image_id in source.aliases.items() if image_id in images}
    derived = {
        image_id: parent
        for image_id, parent in source.derived_parents.items()
        if {image_id, parent} <= images.keys()
    }
    return _Contents(images, tags, aliases, source.containers, derived)


def _restricted(has: _Contents, terms: Sequence[str]) -> tuple[_Contents, set[ImageID]]:
    """What is left of a source that is restricted to some images and their parents, and these images.

    One that has gone is left out.
    """
    named = Names(has.tags, DigestIndex(has.images), has.aliases)
    wanted = set[ImageID]()
    for term in terms:
        with suppress(ImageNotFound):
            wanted.add(named.resolve(term))
    kept = dict[ImageID, Image]()
    for image_id in wanted:
        next_id: ImageID | None = image_id
        while next_id is not None and next_id in has.images and next_id not in kept:
            kept[next_id] = has.images[next_id]
            next_id = has.parent(next_id)
    tags, aliases = (
        {name: image_id for name, image_id in names.items() if image_id in kept}
        for names in (has.tags, has.aliases)
    )
    return _Contents(kept, tags, aliases, {}, has.derived), wanted


def _with(names: Mapping[str, ImageID], more: Mapping[str, ImageID]) -> Mapping[str, ImageID]:
    """Names with those of another source behind them; thousands of a single one are not copied."""
    return {**names, **{name: more[name] for name in more if name not in names}} if names else more


def _snapshot(contents: Mapping[Source, _Contents], only: Mapping[Source, Sequence[str]]) -> Snapshot:
    """What the sources have, in their order."""
    images: dict[ImageID, Image] = {}
    found: dict[ImageID, list[Source]] = {}
    recorded: dict[ImageID, ImageID] = {}
    derivable: dict[ImageID, ImageID] = {}
    tags: Mapping[str, ImageID] = {}
    aliases: Mapping[str, ImageID] = {}
    containers: dict[str, ContainerAt] = {}
    wanted = set[ImageID]()
    for source, has in contents.items():
        if source in only:
            has, named = _restricted(has, only[source])
            wanted |= named
        else:
            wanted |= has.images.keys()
        for image_id, image in has.images.items():
            images.setdefault(image_id, image)
            found.setdefault(image_id, []).append(source)
            if image.parent is not None:
                recorded.setdefault(image_id, image.parent)
            elif image_id in has.derived:
                derivable.setdefault(image_id, has.derived[image_id])
        tags, aliases = _with(tags, has.tags), _with(aliases, has.aliases)
        for container_id, found_container in has.containers.items():
            containers.setdefault(container_id, ContainerAt(found_container, source))
    parents, derived = _with_derived(recorded, derivable)
    images = dict(sorted(images.items()))
    children: dict[ImageID, list[ImageID]] = {}
    for image_id in images:
        parent = parents.get(image_id)
        if parent in images:
            children.setdefault(parent, []).append(image_id)
    asked_for = [image_id for image_id in images if image_id in wanted]
    return Snapshot(
        images,
        found,
        parents,
        children,
        tags,
        DigestIndex(images),
        aliases,
        containers,
        asked_for,
        derived,
    )


def _with_derived(
    recorded: Mapping[ImageID, ImageID], derived: Mapping[ImageID, ImageID]
) -> tuple[Mapping[ImageID, ImageID], Set[ImageID]]:
    """The parents of images, and those images whose parent is not recorded but derived.

    No image is based on itself by a derived parent.
    """
    if not derived:
        return recorded, frozenset()
    parents = {**derived, **recorded}
    used = derived.keys() - recorded.keys()
    for ring in list(rings(parents)):
        for image_id in used.intersection(ring):
            used.discard(image_id)
            del parents[image_id]
    return parents, used
