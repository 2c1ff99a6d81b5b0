"""Finding the images that a user names, wherever they are: the stores of the machine, or a source named with them."""

import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from imgfs.cli.opening import opened, root_fs
from imgfs.digest import ImageID
from imgfs.errors import AmbiguousName, ImageNotFound, InvalidImage, NotFound, StoreError, printable
from imgfs.rootfs import RootFS
from imgfs.sources import SCHEMES, default_sources
from imgfs.sources.image_reference import ImageReference, parse_image_reference
from imgfs.sources.reference import spellings
from imgfs.sources.source import Source
from imgfs.sources.union import Snapshot, Union
from imgfs.store import Image, LayerStack

_LISTED = 10  # names in an error


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image that was found, `term` as the user named it, and the path in it that was named with it, if any."""

    term: str
    snapshot: Snapshot
    image_id: ImageID
    path: str | None
    name: str | None
    """The name it was found by, None if it was found in another way."""

    @property
    def image(self) -> Image:
        """The image itself."""
        return self.snapshot.images[self.image_id]

    @property
    def layers(self) -> LayerStack:
        """Its layers, from the source that has all of them if any has. May block."""
        return self.snapshot.source_of(self.image_id).store.layers(self.image_id)

    def root_fs(self) -> RootFS:
        """What a container of it would see; a context manager."""
        return root_fs(self.snapshot, self.image_id)


@contextmanager
def named_images(
    terms: Sequence[str], sources: Sequence[str] = (), store: str | None = None
) -> Iterator[list[NamedImage]]:
    """The images that `terms` name, in their order; what they were found in is closed at the end.

    If `sources` are given, all are looked up in them. Raises NotFound, AmbiguousID, AmbiguousName and InvalidImage, and
    what `opened` raises.
    """
    parsed = [parse_image_reference(term, SCHEMES) for term in terms]
    with ExitStack() as stack:
        unions: dict[str | None, Union] = {}
        unreadable: list[str] = []
        found = []
        for term, reference in zip(terms, parsed, strict=True):
            if sources and reference.source is not None:
                raise StoreError(f"{term}: names a source of its own, beside --source")
            if reference.source not in unions:
                unions[reference.source] = stack.enter_context(_opened(reference, sources, store, unreadable))
            found.append(_found(term, reference, unions[reference.source], unreadable))
        yield found


@contextmanager
def named_image(term: str, sources: Sequence[str] = (), store: str | None = None) -> Iterator[NamedImage]:
    """The image that `term` names; as `named_images` otherwise."""
    with named_images([term], sources, store) as (found,):
        yield found


@contextmanager
def _opened(
    reference: ImageReference, sources: Sequence[str], store: str | None, unreadable: list[str]
) -> Iterator[Union]:
    if reference.source is not None:
        with opened([reference.source], store) as union:
            yield union
    else:
        also = () if sources or store else default_sources()
        with opened(sources, store, also=also, unreadable=unreadable) as union:
            yield union


def _found(term: str, reference: ImageReference, union: Union, unreadable: Sequence[str]) -> NamedImage:
    snapshot, name = union.snapshot, reference.name
    if not name:
        if len(snapshot.images) != 1:
            raise _choose(term, snapshot)
        (image_id,) = snapshot.images
        (known,) = snapshot.tags_of(image_id)[:1] or (None,)
        return NamedImage(term, snapshot, image_id, reference.path, known)
    tagged = {source: _tagged(source, name) for source in union.sources}
    by_source = {source.reference: of.short for source, of in tagged.items() if of is not None}
    if len(set(by_source.values())) > 1:
        which = ", ".join(f"{short} in {place}" for place, short in by_source.items())
        raise AmbiguousName(f"{term} is the name of different images: {printable(which)}")
    try:
        return NamedImage(term, snapshot, snapshot.resolve(name), reference.path, snapshot.name_meant(name))
    except ImageNotFound:
        raise _not_found(term, name, union, unreadable) from None


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
