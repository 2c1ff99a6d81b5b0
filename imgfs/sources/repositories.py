"""Names of images as moby keeps them in `repositories.json`.

Format: moby, `reference/store.go`: by repository, by full name, the ID of the image. Each name is read by itself: one
that is damaged is reported, and the others are there.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from imgfs.digest import ImageID
from imgfs.errors import InvalidDigest
from imgfs.sources.documents import parse_document
from imgfs.sources.report import Report
from imgfs.store import ImageStore, Problem


class _Document(msgspec.Struct, rename={"repositories": "Repositories"}):
    repositories: dict[str, object] | msgspec.UnsetType | None = msgspec.UNSET


def parse_repositories(data: bytes, path: str, report: Report) -> dict[str, ImageID]:
    """Each name with its image; digests, which stand among the names, are none.

    What is damaged is reported and skipped. Raises InvalidImage naming `path` if all is.
    """
    names: dict[str, ImageID] = {}
    document = parse_document(data, _Document, path)
    for repository, inside in (document.repositories or {}).items():
        if not isinstance(inside, dict):
            report(f"{path}: the names of {repository!r} are damaged")
            continue
        for name, digest in inside.items():
            if name.startswith(f"{repository}@"):
                continue
            try:
                names[name] = ImageID(str(digest))
            except InvalidDigest as error:
                report(f"{path}: {name!r}: {error}", names=[name])
                continue
            if _repository(name) != repository:
                report(f"{path}: {name!r} is no name in {repository!r}", image=names.pop(name), names=[name])
    return names


def dump_repositories(names: Mapping[str, str]) -> bytes:
    """The document that says so, sorted."""
    repositories: dict[str, dict[str, str]] = {}
    for name, image_id in sorted(names.items()):
        repositories.setdefault(_repository(name), {})[name] = image_id
    return msgspec.json.encode(_Document({**repositories}), enc_hook=str)


def _repository(name: str) -> str:
    """What stands before a name's tag; a layout's names may be tags alone."""
    return name.rpartition(":")[0]


def with_names(problems: Iterable[Problem], names: Mapping[str, ImageID]) -> list[Problem]:
    """The same problems, with the names that lead to the images that are not shown because of them."""
    by_image = _by_image(names)
    return [
        Problem(problem, problem.image, by_image.get(problem.image, ()))
        if problem.image and not problem.names
        else problem
        for problem in problems
    ]


def report_absent(
    store: ImageStore,
    names: Mapping[str, ImageID],
    read_again: Callable[[], Mapping[str, ImageID]],
    report: Report,
) -> None:
    """Report names of images that are not in `store`, unless that says already what is wrong with them.

    Who removes an image takes its names away first, so those that are gone when they are read again do not count.
    """
    explained = {problem.image for problem in store.problems}
    absent = {name: of for name, of in names.items() if of not in store and of not in explained}
    again = read_again() if absent else {}
    still = {name: of for name, of in absent.items() if again.get(name) == of}
    for image_id, called in _by_image(still).items():
        more = f" and {len(called) - 1} more" if len(called) > 1 else ""
        line = f"image {image_id} ({called[0]}{more}) is not there: its config is missing"
        report(line, image=image_id, names=called)


def _by_image(names: Mapping[str, ImageID]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, image_id in names.items():
        found.setdefault(image_id, []).append(name)
    return found
