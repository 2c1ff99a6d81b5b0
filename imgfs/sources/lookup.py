"""Finding the image that a person means, among those of some sources or in any store of the machine.

Tried by the tests of names on the command line.
"""

import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from imgfs.cache import Cache
from imgfs.digest import ImageID
from imgfs.errors import AmbiguousName, ImageNotFound, InvalidImage, NotFound, StoreError, printable
from imgfs.rootfs import RootFS, TreeCache
from imgfs.sources import SCHEMES, default_sources
from imgfs.sources.image_reference import ImageReference, parse_image_reference
from imgfs.sources.open_union import open_union
from imgfs.sources.reference import spellings
from imgfs.sources.source import Source
from imgfs.sources.union import Snapshot, Union
from imgfs.store import Image, ImageStore, LayerStack
from imgfs.tree import Tree

_LISTED = 10  # names in an error


@dataclass(frozen=True, slots=True)
class ChosenImage:
    """An image that was chosen: `term` is how it was named, `path` the path in it that was named with it.

    `name` is the name that it was found by, None if it was found in another way.
    """

    term: str
    snapshot: Snapshot
    cache: Cache
    image_id: ImageID
    path: str | None
    name: str | None

    @property
    def image(self) -> Image:
        """The image itself."""
        return self.snapshot.images[self.image_id]

    @property
    def store(self) -> ImageStore:
        """The store of the source that has all of its layers if any has. May block."""
        return self.snapshot.source_of(self.image_id).store

    @property
    def layers(self) -> LayerStack:
        """Its layers. May block."""
        return self.store.layers(self.image_id)

    def root_fs(self) -> RootFS:
        """What a container of it would see; a context manager."""
        return RootFS.of(self.layers, self._trees, self._label)

    def trees(self) -> Iterator[Tree]:
        """The tree of each of its layers alone in columns, the lowest first. Raises what reading the layers raises."""
        return self._trees.each(self.layers, self._label)

    def layer_trees(self) -> Iterator[RootFS]:
        """The tree of each of its layers alone, the lowest first."""
        layers, trees = self.layers, self._trees
        for number in range(len(layers.diff_ids)):
            yield RootFS.of(layers, trees, self._label, only=number)

    @property
    def _trees(self) -> TreeCache:
        return TreeCache(self.cache.of(self.snapshot.writers))

    @property
    def _label(self) -> str:
        return f"image {self.image_id}"


@contextmanager
def choose_images(
    terms: Sequence[str], cache: Cache, sources: Sequence[str] = (), *, only: bool = False
) -> Iterator[list[ChosenImage]]:
    """The images that `terms` name, in their order; what they were found in is closed at the end.

    Those named without a source are looked up in `sources`, and unless they are the `only` ones, then in every store of
    the machine that can be read. Raises NotFound, AmbiguousID, AmbiguousName, InvalidImage, StoreError, and what
    `open_union` raises.
    """
    parsed = [parse_image_reference(term, SCHEMES) for term in terms]
    with ExitStack() as stack:
        unions: dict[str | None, Union] = {}
        unreadable: list[str] = []
        found = []
        for term, reference in zip(terms, parsed, strict=True):
            place = reference.source
            if place is not None and only:
                raise StoreError(f"{term}: names a source of its own, beside --source")
            if place not in unions:
                places, also = (
                    ((place,), ()) if place is not None else (sources, () if only else default_sources())
                )
                opened = open_union(places, cache, also=also, unreadable=unreadable if also else None)
                unions[place] = stack.enter_context(opened)
            found.append(_found(term, reference, unions[place], cache, unreadable))
        yield found


def _found(
    term: str, reference: ImageReference, union: Union, cache: Cache, unreadable: Sequence[str]
) -> ChosenImage:
    snapshot, name = union.snapshot, reference.name
    if not name:
        if len(snapshot.images) != 1:
            raise _choose(term, snapshot)
        (image_id,) = snapshot.images
        known = next(iter(snapshot.tags_of(image_id)), None)
        return ChosenImage(term, snapshot, cache, image_id, reference.path, known)
    _check_unambiguous(term, name, union)
    try:
        image_id = snapshot.resolve(name)
    except ImageNotFound:
        raise _not_found(term, name, union, unreadable) from None
    return ChosenImage(term, snapshot, cache, image_id, reference.path, snapshot.name_meant(name))


def _check_unambiguous(term: str, name: str, union: Union) -> None:
    """Raises AmbiguousName if several sources have different images of a name."""
    if len(union.sources) < 2:  # the tags of one are not read again for nothing
        return
    tagged = {source: _tagged(source, name) for source in union.sources}
    by_source = {source.reference: of.short for source, of in tagged.items() if of is not None}
    if len(set(by_source.values())) > 1:
        which = ", ".join(f"{short} in {place}" for place, short in by_source.items())
        raise AmbiguousName(f"{term} is the name of different images: {printable(which)}")


def _tagged(source: Source, name: str) -> ImageID | None:
    """The image of a source that has a name."""
    tags = {printable(tag): image_id for tag, image_id in source.tags.items()}
    return next((tags[spelling] for spelling in spellings(printable(name)) if spelling in tags), None)


def _choose(term: str, snapshot: Snapshot) -> InvalidImage:
    if not snapshot.images:
        return InvalidImage(f"{term}: there is no image in it")
    names = list(snapshot.tags)[:_LISTED] or [image_id.short for image_id in snapshot.images][:_LISTED]
    more = ", …" if len(snapshot.images) > len(names) else ""
    return InvalidImage(
        f"{term}: {len(snapshot.images)} images are there, choose one: {', '.join(names)}{more}"
    )


def _not_found(term: str, name: str, union: Union, unreadable: Sequence[str]) -> NotFound:
    known = {tag: tag for tag in union.snapshot.tags}
    known |= {tag.rpartition("/")[2].partition(":")[0]: tag for tag in union.snapshot.tags}
    near = dict.fromkeys(known[tag] for tag in difflib.get_close_matches(name, known, 3, 0.6))
    looked = ", ".join(printable(source.reference) for source in union.sources)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    path = f"; for the file of that name, write ./{name}" if os.path.lexists(name) else ""
    where = "; ".join([f"looked in {looked}", *(f"cannot read {line}" for line in unreadable)])
    return NotFound(f"No such image: {term} ({where}){meant}{path}")
