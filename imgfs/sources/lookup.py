"""Finding the images, containers and sources that a person means, among some sources or in any store of the machine."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol, TypeVar

from imgfs.cache import Cache
from imgfs.digest import ImageID
from imgfs.errors import (
    AmbiguousName,
    ImageNotFound,
    NotFound,
    StoreError,
    printable,
)
from imgfs.sources import SCHEMES, default_sources, is_source
from imgfs.sources.chosen import ChosenContainer, ChosenImage, ChosenRoot
from imgfs.sources.container_lookup import PREFIX, find_container, named_container
from imgfs.sources.image_reference import (
    ImageReference,
    as_path,
    in_source,
    parse_image_reference,
    parse_source,
)
from imgfs.sources.not_found import choose_one, hints, not_found
from imgfs.sources.open_union import open_each, open_union
from imgfs.sources.opening import Opening
from imgfs.sources.reference import spellings
from imgfs.sources.source import Source
from imgfs.sources.union import Union

Chosen = TypeVar("Chosen", bound=ChosenRoot, covariant=True)


class Find(Protocol[Chosen]):
    """Finds what `reference`, which was written as `term`, means among the images and containers of `union`.

    Raises NotFound, which names the stores that are `unreadable`, AmbiguousID, AmbiguousName, InvalidImage, StoreError.
    """

    def __call__(
        self, term: str, reference: ImageReference, union: Union, cache: Cache, unreadable: Sequence[str]
    ) -> Chosen: ...


@contextmanager
def choose(
    find: Find[Chosen],
    terms: Sequence[str],
    opening: Opening,
    sources: Sequence[str] = (),
    *,
    only: bool = False,
    with_all: bool = False,
) -> Iterator[list[Chosen]]:
    """What `terms` name, in their order; what it was found in is closed at the end.

    `find` is `image_meant`, `container_meant`, or `root_meant` for either. What is named without a source is looked up
    in `sources`, and unless they are the `only` ones, then in every store of the machine that can be read; what no
    store has is taken for a path. Of an index in a registry, only the image that is meant is looked for, or `with_all`
    every platform's. Raises what `find` raises, and what `open_union` raises.
    """
    parsed = [parse_image_reference(term, SCHEMES) for term in terms]
    opening = opening if with_all else opening.for_one_image()
    with ExitStack() as stack:
        unions: dict[str, Union] = {}
        unreadable: list[str] = []

        def union_at(place: str) -> Union:
            if place not in unions:
                places, also = ([place], ()) if place else (sources, () if only else default_sources())
                opened = open_union(places, opening, also=also, unreadable=unreadable if also else None)
                with hints(parsed):
                    unions[place] = stack.enter_context(opened)
            return unions[place]

        found = []
        for term, reference in zip(terms, parsed, strict=True):
            if reference.source is not None and only:
                raise StoreError(f"{term}: names a source of its own, beside --source")
            try:
                chosen = find(term, reference, union_at(reference.place), opening.cache, unreadable)
            except NotFound:
                path = None if only else as_source(reference)
                if path is None:
                    raise
                chosen = find(term, path, union_at(path.place), opening.cache, ())
            found.append(chosen)
        yield found


@contextmanager
def open_sources(
    references: Sequence[str],
    opening: Opening,
    *,
    also: Sequence[str] = (),
    unreadable: list[str] | None = None,
) -> Iterator[Union]:
    """The sources that `references` name, seen as one; closed at the end. All else is as of `open_each`.

    Of one that names an image, only that image and its parents are seen. A name without a source is a path if a source
    lies there, and else the image of that name in any store of the machine.

    Raises NotFound, AmbiguousID, AmbiguousName, InvalidImage, and what `open_union` raises.
    """
    parsed = [(text, found) for text in references for found in _sources_meant(text, opening)]
    places = [reference.place for _, reference in parsed]
    each = open_each(places, opening, also=also, unreadable=unreadable)
    with ExitStack() as stack:
        with hints(reference for _, reference in parsed):
            opened, skipped = stack.enter_context(each)
        only: dict[Source, list[str]] = {}
        for text, reference in parsed:
            if reference.name and reference.place in opened:
                source = opened[reference.place]
                chosen = image_meant(text, reference, Union([source]), opening.cache, ())
                only.setdefault(source, []).append(chosen.name or chosen.image_id)
        whole = {opened.get(place) for place in (*also, *(of.place for _, of in parsed if not of.name))}
        only = {source: names for source, names in only.items() if source not in whole}
        yield Union(list(dict.fromkeys(opened.values())), skipped, opened, only)


def _sources_meant(text: str, opening: Opening) -> list[ImageReference]:
    """The sources that `text` means, each with the image in it that is meant, if any."""
    reference = parse_source(text, SCHEMES)
    if reference.source is not None:
        return [reference]
    path = as_source(reference)
    if path is not None:
        return [path]
    unreadable: list[str] = []
    looking = Opening(opening.cache, remedy=opening.remedy)
    with open_union((), looking, also=default_sources(), unreadable=unreadable) as union:
        try:
            image_id = image_meant(text, reference, union, opening.cache, unreadable).image_id
        except NotFound:
            if os.path.isdir(text):  # it is neither, which opening it says
                return [ImageReference(text, "")]
            raise
        return [
            ImageReference(source.reference, text if _tagged(source, text) == image_id else image_id)
            for source in union.snapshot.sources[image_id]
        ]


def as_source(reference: ImageReference) -> ImageReference | None:
    """What a name without a source means as a path, None if no source lies there; any file counts as one."""
    path = as_path(reference) if reference.source is None else None
    return path if path is not None and path.source is not None and is_source(path.source) else None


def image_meant(
    term: str, reference: ImageReference, union: Union, cache: Cache, unreadable: Sequence[str]
) -> ChosenImage:
    """The image that is meant, a `Find`."""
    snapshot, name = union.snapshot, reference.name
    if not name:
        if len(snapshot.images) != 1:
            raise choose_one(term, reference, snapshot)
        (image_id,) = snapshot.images
        known = next(iter(snapshot.tags_of(image_id)), None)
        return ChosenImage(term, snapshot, cache, reference.path, image_id, known)
    image_id = _resolved(term, reference, union, unreadable)
    return ChosenImage(term, snapshot, cache, reference.path, image_id, snapshot.name_meant(name))


def container_meant(
    term: str, reference: ImageReference, union: Union, cache: Cache, unreadable: Sequence[str]
) -> ChosenContainer:
    """The container that is meant, a `Find`."""
    found = find_container(reference.name.removeprefix(PREFIX), union.snapshot)
    if found is None:
        raise not_found(term, reference, union, unreadable, "container")
    return ChosenContainer(term, union.snapshot, cache, reference.path, found)


def root_meant(
    term: str, reference: ImageReference, union: Union, cache: Cache, unreadable: Sequence[str]
) -> ChosenRoot:
    """The image or container that is meant, a `Find`.

    An image's name means that, else a container's name the container, else the begin of an ID an image and else a
    container; what stands after `container:` is a container.
    """
    snapshot, name = union.snapshot, reference.name
    if name.startswith(PREFIX):
        return container_meant(term, reference, union, cache, unreadable)
    container = None if not name or snapshot.name_meant(name) else named_container(name, snapshot)
    if container is None:
        try:
            if not name or snapshot.resolve(name):
                return image_meant(term, reference, union, cache, unreadable)
        except ImageNotFound:
            container = find_container(name, snapshot)
    if container is None:
        raise not_found(term, reference, union, unreadable, "image or container")
    return ChosenContainer(term, snapshot, cache, reference.path, container)


def find_image(term: str, union: Union) -> ImageID:
    """The image that `term` means among those of some sources.

    Raises NotFound, AmbiguousID, AmbiguousName, or StoreError for one that is broken.
    """
    return _resolved(term, ImageReference(None, term), union, ())


def _resolved(term: str, reference: ImageReference, union: Union, unreadable: Sequence[str]) -> ImageID:
    _check_unambiguous(reference, union)
    try:
        return union.snapshot.resolve(reference.name)
    except ImageNotFound:
        raise not_found(term, reference, union, unreadable) from None


def _check_unambiguous(reference: ImageReference, union: Union) -> None:
    """Raises AmbiguousName if several sources have different images of a name."""
    name = reference.name
    if len(union.sources) < 2:  # the tags of one are not read again for nothing
        return
    tagged = {source: _tagged(source, name) for source in union.sources}
    by_source = {source.reference: of.short for source, of in tagged.items() if of is not None}
    if len(set(by_source.values())) > 1:
        which = " or ".join(f"{in_source(place, name)} ({short})" for place, short in by_source.items())
        raise AmbiguousName(f"{name} is the name of different images; choose {printable(which)}")


def _tagged(source: Source, name: str) -> ImageID | None:
    """The image of a source that has a name."""
    tags = {**source.aliases, **{printable(tag): image_id for tag, image_id in source.tags.items()}}
    return next((tags[spelling] for spelling in spellings(printable(name)) if spelling in tags), None)
