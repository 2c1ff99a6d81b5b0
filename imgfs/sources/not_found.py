"""Errors for images that are not found, or are several: where they were looked up, and what may be meant.

Tried by the tests of names on the command line.
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from imgfs.errors import InvalidImage, NotFound, SourceNotFound, StoreError, printable
from imgfs.sources import SCHEMES, default_sources
from imgfs.sources.image_reference import ImageReference
from imgfs.sources.reference import familiar_name, spellings
from imgfs.sources.union import Snapshot, Union

_LISTED, _SUGGESTED = 10, 3  # names in an error
_COMPARED = 10_000  # names that one which is not there is compared with
_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.xz", ".tar.bz2")  # how names of archives end
_SHORT = 12  # digits of an ID that are surely one

_OTHERS_CALL_IT = {
    "docker-daemon": "docker",
    "podman": "containers-storage",
    "buildah": "containers-storage",
    "nerdctl": "containerd",
    "ctr": "containerd",
    "tarball": "docker-archive",
}
"""Sources as other tools write them, and what that is here."""


def choose_one(term: str, reference: ImageReference, snapshot: Snapshot) -> InvalidImage:
    """The error for a source that has none or several images where one is to be named."""
    place = _image(term, reference).removesuffix(":")
    if not snapshot.images:
        return InvalidImage(f"{place}: there is no image in it")
    names = list(snapshot.tags)[:_LISTED] or [image_id.short for image_id in snapshot.images][:_LISTED]
    more = ", …" if len(snapshot.images) > len(names) else ""
    return InvalidImage(
        f"{place}: {len(snapshot.images)} images are there, choose one: {', '.join(names)}{more}"
    )


def not_found(
    term: str, reference: ImageReference, union: Union, unreadable: Sequence[str], what: str = "image"
) -> NotFound | StoreError:
    """The error for an image that is not there, or is broken: where it was looked up, and what may be meant.

    `what` says what else it could have been. The error has a note for each of `unreadable`, which are stores that could
    not be looked into.
    """
    name, snapshot = reference.name, union.snapshot
    for place, problem in union.problems:
        is_id = len(name) >= _SHORT and problem.image.removeprefix("sha256:").startswith(
            name.removeprefix("sha256:")
        )
        if is_id or not set(problem.names).isdisjoint(spellings(name)):
            return StoreError(f"{term}: {place}: {problem}")
    looked = ", ".join(printable(source.reference.removesuffix(f":{name}")) for source in union.sources)
    where = f"looked in {looked}" if looked else "there is no store of images here"
    image = _image(term, reference)
    if what == "image" and name in snapshot.container_names:
        return NotFound(f"No such image: {image} (a container is called so)")
    names = [] if what == "container" else _near_names(name, snapshot)
    if "container" in what:
        names += difflib.get_close_matches(name, snapshot.container_names, _SUGGESTED)
    near = [f"{image.removesuffix(name)}{other}" for other in dict.fromkeys(names)]
    meant = " or ".join([*_near_sources(term, name), *near][:_SUGGESTED])
    suggestion = f"; did you mean {meant}?" if meant else ""
    error = NotFound(f"No such {what}: {image} ({where}){suggestion}{_path_hint(reference)}")
    for line in unreadable:
        error.add_note(f"cannot read {line}")
    return error


def _image(term: str, reference: ImageReference) -> str:
    """What of a term names an image, and no path in it."""
    return term if reference.path is None else term.removesuffix(f":{reference.path}")


def _path_hint(reference: ImageReference) -> str:
    """How to write a path that was taken for the name of an image in a store; or that there is no such file, either."""
    if reference.source is None and reference.name.endswith(_ARCHIVES):
        return f"; ./{reference.name} is not there, either"
    if reference.source not in default_sources() or not os.path.lexists(reference.name):
        return ""
    return f"; for the path of that name, write {reference.source}./{reference.name}"


@contextmanager
def hints(references: Iterable[ImageReference]) -> Iterator[None]:
    """Adds to errors that no store is there what may be meant."""
    try:
        yield
    except SourceNotFound as error:
        raise SourceNotFound(f"{error}{''.join(map(_path_hint, references))}") from error.__cause__


def _near_names(name: str, snapshot: Snapshot) -> list[str]:
    known: dict[str, str] = {}
    for tag in islice(snapshot.tags, _COMPARED):
        repository = tag if "/" in tag.rpartition(":")[2] else tag.rpartition(":")[0]
        familiar = familiar_name(repository)
        for part in (tag, familiar_name(tag), repository, familiar, familiar.rpartition("/")[2]):
            known.setdefault(part, tag)
    return list(dict.fromkeys(known[tag] for tag in difflib.get_close_matches(name, known, _SUGGESTED)))


def _near_sources(term: str, name: str) -> list[str]:
    """What is meant by a source that is written as other tools do, or wrong."""
    scheme, colon, _ = name.partition(":")
    if not colon or not term.startswith(name) or scheme in SCHEMES:
        return []
    near = _OTHERS_CALL_IT.get(scheme) or next(iter(difflib.get_close_matches(scheme, SCHEMES, 1, 0.8)), "")
    return [f"{near}{term.removeprefix(scheme)}"] if near else []
