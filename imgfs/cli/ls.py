"""`imgfs ls` and `imgfs tree`: lists of images."""

import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

import click
import msgspec
from rich.console import Console
from rich.tree import Tree

from imgfs.cli.files import list_paths
from imgfs.cli.messages import end_of_list, tell, utf8
from imgfs.cli.naming import named_images
from imgfs.cli.opening import opened, store_option
from imgfs.digest import Digest, ImageID
from imgfs.errors import printable
from imgfs.sizes import human_size
from imgfs.sources import SCHEMES, Source, default_sources
from imgfs.sources.finder import Artifact
from imgfs.sources.image_reference import parse_image_reference
from imgfs.sources.union import Snapshot
from imgfs.store import Problem

_WIDEST = 100  # characters of a column; a longer cell moves only the rest of its own line


class _Row(msgspec.Struct, kw_only=True):
    """One image or artifact, as `--json` prints it; `type` is that of an artifact, `id` its manifest's digest."""

    id: Digest
    type: str = "image"
    tags: list[str]
    created: str | None = None
    layers: int | None = None
    size: int | None = None
    parent: ImageID | None = None
    sources: list[str]


@click.command(short_help="List images.")
@click.argument("sources", nargs=-1, metavar="[SOURCE|IMAGE:/PATH]...")
@click.option(
    "-a", "--all", "everywhere", is_flag=True, help="Also list the images of every engine on this machine."
)
@click.option("--heads", is_flag=True, help="List only images that no other image is based on.")
@click.option("--broken", is_flag=True, help="List the broken images instead, and why they are broken.")
@click.option("--all-types", is_flag=True, help="Also list artifacts: signatures, charts and the like.")
@click.option("-l", "--long", is_flag=True, help="Of paths, print modes, owners, sizes and times as well.")
@click.option("-R", "--recursive", is_flag=True, help="Of paths, list directories below, too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
@store_option
def ls(
    sources: tuple[str, ...],
    everywhere: bool,
    heads: bool,
    broken: bool,
    all_types: bool,
    long: bool,
    recursive: bool,
    as_json: bool,
    store: str | None,
) -> None:
    """List the images of each SOURCE, or of the store of imgfs; or what is at each PATH in an IMAGE.

    Broken images are skipped, with a line on standard error each; the exit status is 3 then, and --broken lists them.
    Artifacts, which are stored like images but are none, are counted in one line; --all-types lists them.
    """
    if sources and all(parse_image_reference(source, SCHEMES).path is not None for source in sources):
        with named_images(sources, store=store) as found:
            click.get_current_context().exit(not list_paths(found, long=long, recursive=recursive))
    if long or recursive:
        raise click.UsageError("-l and -R are for paths (IMAGE:/PATH)")
    with opened(sources, store, also=default_sources() if everywhere else ()) as union:
        snapshot, problems, artifacts = union.snapshot, union.problems, union.artifacts
        rows = [_row(snapshot, image_id) for image_id in (snapshot.heads if heads else snapshot.images)]
    if all_types:
        rows += [_artifact_row(*artifact) for artifact in artifacts]
    with_source = everywhere or len(sources) > 1
    if as_json:
        listed = [_broken(*problem) for problem in problems] if broken else rows
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(listed, enc_hook=str)).decode() + "\n")
    elif broken:
        _print_broken(problems, with_source=with_source)
    else:
        _print_table(rows, with_type=all_types, with_source=with_source)
    if artifacts and not all_types and not broken:
        tell(f"{len(artifacts)} artifact{'s' * (len(artifacts) != 1)} not listed (see --all-types)")
    end_of_list(problems)


@click.command(short_help="Draw images as a tree.")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@store_option
def tree(sources: tuple[str, ...], store: str | None) -> None:
    """Draw the images of each SOURCE, or of the store of imgfs, as a tree: each image below the one it is based on.

    Broken images are skipped as by imgfs ls, with exit status 3.
    """
    with opened(sources, store) as union:
        snapshot, problems = union.snapshot, union.problems
    console = _Console(highlight=False, markup=False, width=10_000, soft_wrap=True)  # lines must not be cut
    drawn: set[ImageID] = set()
    for root in _roots(snapshot):
        console.print(_branch(snapshot, root, drawn))
    end_of_list(problems)


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Let the caller handle the error; rich would end the process with status 1."""
        raise  # the error that it was called for


def _row(snapshot: Snapshot, image_id: ImageID) -> _Row:
    sources = snapshot.sources[image_id]
    image = snapshot.images[image_id]
    return _Row(
        id=image_id,
        tags=list(snapshot.tags_of(image_id)),
        created=image.created.isoformat() if image.created else None,
        layers=len(image.diff_ids),
        size=sources[0].store.layers(image_id).look_for_size(),
        parent=snapshot.parents.get(image_id),
        sources=[utf8(source.reference) for source in sources],
    )


def _artifact_row(artifact: Artifact, sources: Sequence[Source]) -> _Row:
    return _Row(
        id=artifact.digest,
        type=printable(artifact.type) or "unknown",
        tags=[printable(tag) for tag in artifact.tags],
        sources=[utf8(source.reference) for source in sources],
    )


def _print_table(rows: Iterable[_Row], *, with_type: bool, with_source: bool) -> None:
    """Print a line for each name, never cut: a narrow terminal wraps it."""
    kind, place = (["TYPE"] if with_type else []), (["SOURCE"] if with_source else [])
    lines = [["TAG", "ID" if with_type else "IMAGE ID", *kind, "CREATED", "LAYERS", "SIZE", *place]]
    for row in rows:
        created = row.created[:19].replace("T", " ") if row.created else "-"
        layers = "-" if row.layers is None else str(row.layers)
        kind = [row.type] if with_type else []
        place = [printable(", ".join(row.sources))] if with_source else []
        for tag in row.tags or ["<none>"]:
            lines.append([printable(tag), row.id.short, *kind, created, layers, human_size(row.size), *place])
    _print_columns(lines)


def _broken(source: str, problem: Problem) -> dict[str, object]:
    names = [utf8(name) for name in problem.names]
    return {
        "id": problem.image or None,
        "tags": names,
        "problem": utf8(problem),
        "source": utf8(source) or None,
    }


def _print_broken(problems: Sequence[tuple[str, Problem]], *, with_source: bool) -> None:
    """Print a line for each name, or one with `-` if none is known."""
    lines = [["TAG", "IMAGE ID", *(["SOURCE"] if with_source else []), "PROBLEM"]]
    for source, problem in problems:
        image_id = problem.image.removeprefix("sha256:")[:12]
        for name in problem.names or [""]:
            cells = [name, image_id, *([source] if with_source else []), problem]
            lines.append([printable(cell) or "-" for cell in cells])
    _print_columns(lines)


def _print_columns(lines: Sequence[Sequence[str]]) -> None:
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.rjust(width) if heading in ("LAYERS", "SIZE") else cell.ljust(width)
            for heading, cell, width in zip(lines[0], line, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


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


def _branch(snapshot: Snapshot, root: ImageID, drawn: set[ImageID]) -> Tree:
    top = Tree(_label(snapshot, root))
    drawn.add(root)
    waiting = [(root, top)]
    while waiting:
        image_id, branch = waiting.pop()
        for child in snapshot.children.get(image_id, ()):
            if child not in drawn:
                drawn.add(child)
                waiting.append((child, branch.add(_label(snapshot, child))))
    return top


def _label(snapshot: Snapshot, image_id: ImageID) -> str:
    return printable(" ".join([image_id.short, *snapshot.tags_of(image_id)]))
