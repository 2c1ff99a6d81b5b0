"""`imgfs tree`: images as a tree of which is based on which."""

from collections.abc import Iterator

import click

from imgfs.cli.json_output import json_option, print_json
from imgfs.cli.messages import end_of_list
from imgfs.cli.opening import opened, store_option
from imgfs.digest import ImageID
from imgfs.errors import printable
from imgfs.sources.union import Snapshot


@click.command(short_help="Draw images as a tree.")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@json_option
@store_option
def tree(sources: tuple[str, ...], as_json: bool, store: str | None) -> None:
    """Draw the images of each SOURCE, or of every store of this machine that can be read, as a tree: each below the one
    it is based on.

    Broken images are skipped as by imgfs ls, with exit status 3.

    \b
    Example:
      imgfs tree docker:
    """
    with opened(sources, store) as union:
        snapshot, problems = union.snapshot, union.problems
    if as_json:
        print_json([_fields(snapshot, image_id) for image_id in snapshot.images])
        end_of_list(problems)
    drawn: set[ImageID] = set()
    for root in _roots(snapshot):
        for line in _lines(snapshot, root, drawn):
            click.echo(line)
    end_of_list(problems)


def _fields(snapshot: Snapshot, image_id: ImageID) -> dict[str, object]:
    return {
        "id": image_id,
        "tags": snapshot.tags_of(image_id),
        "parent": snapshot.parents.get(image_id),
        **({"parent_derived": True} if image_id in snapshot.derived else {}),
        "children": snapshot.children.get(image_id, ()),
    }


def _roots(snapshot: Snapshot) -> list[ImageID]:
    """The images that have no parent here, and one of each cycle of parents, the first in order."""
    roots = [
        image_id for image_id in snapshot.images if snapshot.parents.get(image_id) not in snapshot.images
    ]
    reached = set(roots)
    for image_id in [*roots, *snapshot.images]:
        if image_id not in reached:
            roots.append(image_id)
        waiting = [image_id]
        while waiting:
            below = [child for child in snapshot.children.get(waiting.pop(), ()) if child not in reached]
            reached.update(below)
            waiting.extend(below)
        reached.add(image_id)
    return roots


def _lines(snapshot: Snapshot, root: ImageID, drawn: set[ImageID]) -> Iterator[str]:
    """The lines of an image and what is below it, but for what is in `drawn`, which what is drawn is added to."""
    drawn.add(root)
    waiting = [("", "", root)]
    while waiting:
        first, before, image_id = waiting.pop()
        yield first + _label(snapshot, image_id)
        children = [child for child in snapshot.children.get(image_id, ()) if child not in drawn]
        drawn.update(children)
        for child in reversed(children):
            is_last = child == children[-1]
            line, below = ("└── ", "    ") if is_last else ("├── ", "│   ")
            waiting.append((before + line, before + below, child))


def _label(snapshot: Snapshot, image_id: ImageID) -> str:
    return printable(" ".join([image_id.short, *snapshot.tags_of(image_id)]))
