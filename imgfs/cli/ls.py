"""`imgfs ls`: lists of images, and of paths in them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import click

from imgfs.cli.ages import age
from imgfs.cli.color import color_option
from imgfs.cli.files import list_paths
from imgfs.cli.image_format import ImageFormat
from imgfs.cli.image_list import ImageList, Listed
from imgfs.cli.json_output import json_option, print_json
from imgfs.cli.messages import end_of_list, shown, tell, utf8
from imgfs.cli.naming import named_images, named_roots
from imgfs.cli.opening import opened, store_option
from imgfs.cli.table import print_table
from imgfs.errors import ImageNotFound, NotFound, printable
from imgfs.sizes import human_size
from imgfs.sources import SCHEMES, Source
from imgfs.sources.image_reference import ImageReference, parse_image_reference
from imgfs.sources.lookup import as_source
from imgfs.store import Problem


@click.command(short_help="List images, or files in them.")
@click.argument("places", nargs=-1, metavar="[SOURCE|IMAGE|IMAGE:/PATH|CONTAINER:/PATH]...")
@click.option(
    "-a", "--all", "show_all", is_flag=True, help="Also list unnamed images that others are based on."
)
@click.option("-q", "--quiet", is_flag=True, help="Print only IDs, each once.")
@click.option("--no-trunc", is_flag=True, help="Print whole IDs and sources.")
@click.option(
    "-f",
    "--filter",
    "conditions",
    multiple=True,
    metavar="KEY=VALUE",
    help="List only images with dangling=true|false, label=KEY[=VALUE], before=IMAGE, since=IMAGE, "
    "reference=PATTERN, until=TIME.",
)
@click.option(
    "--format",
    "form",
    metavar="FORMAT",
    help="Print each name by a Go template, such as '{{.ID}} {{.Tag}}'; 'table TEMPLATE'; or json.",
)
@click.option("--heads", is_flag=True, help="List only images that no other image is based on.")
@click.option("--broken", is_flag=True, help="List the broken images instead, and why they are broken.")
@click.option("--all-types", is_flag=True, help="Also list artifacts: signatures, charts and the like.")
@click.option("-l", "--long", is_flag=True, help="Of paths, print modes, owners, sizes and times as well.")
@click.option("-R", "--recursive", is_flag=True, help="Of paths, list directories below, too.")
@json_option
@color_option
@store_option
def ls(
    places: tuple[str, ...],
    show_all: bool,
    quiet: bool,
    no_trunc: bool,
    conditions: tuple[str, ...],
    form: str | None,
    heads: bool,
    broken: bool,
    all_types: bool,
    long: bool,
    recursive: bool,
    as_json: bool,
    store: str | None,
) -> None:
    """List the images of every store of this machine that can be read, newest first; or of each SOURCE; or an IMAGE, or
    all of a repository. With IMAGE:/PATH or CONTAINER:/PATH, list files.

    Broken images are skipped, with a line on standard error each; the exit status is 3 then, and --broken lists them.
    Stores that were not named and cannot be read are skipped with a line, too. Artifacts, which are stored like images
    but are none, are counted in one line; --all-types lists them.

    \b
    Examples:
      imgfs ls
      imgfs ls -q --filter dangling=true docker:
      imgfs ls -l debian:/etc
    """
    references = [_parsed(place) for place in places]
    has_path = [reference.path is not None for reference in references]
    if references and all(has_path):
        with named_roots(places, store=store) as found:
            done = list_paths(found, long=long, recursive=recursive, as_json=as_json)
            click.get_current_context().exit(not done)
    if long or recursive or any(has_path):
        raise click.UsageError("-l and -R are for paths (IMAGE:/PATH), which are not listed beside images")
    sources = list(dict.fromkeys(of.source for of in references if of.source is not None))
    with opened(sources, store, everywhere=store is None and len(sources) < len(set(references))) as union:
        names = {source: shown(name) for name, source in union.named.items()}
        show = ImageFormat(form, names, no_trunc=no_trunc) if form is not None else None
        listed = ImageList(union, conditions)
        artifacts = listed.artifacts()
        images = _chosen(listed, references, places, store, show_all)
        if heads:
            based_on = union.snapshot.children
            images = [image for image in images if image.id not in based_on]
        if all_types:
            images += artifacts
        if broken:
            _print_broken(union.problems, with_source=len(names) > 1, as_json=as_json)
        elif as_json:
            print_json([image.fields() for image in images])
        elif quiet:
            for image in images:
                click.echo(image.id if no_trunc else image.id.short)
        elif show is not None:
            show.print(images)
        else:
            _print_images(images, names, no_trunc=no_trunc, with_type=all_types)
        if artifacts and not all_types and not broken:
            tell(f"{len(artifacts)} artifact{'s' * (len(artifacts) != 1)} not listed (see --all-types)")
        end_of_list(union.problems)


def _parsed(place: str) -> ImageReference:
    """What is to be listed; a path that holds images is a source."""
    reference = parse_image_reference(place, SCHEMES)
    return as_source(reference) or reference


def _chosen(
    images: ImageList,
    references: Sequence[ImageReference],
    places: Sequence[str],
    store: str | None,
    show_all: bool,
) -> list[Listed]:
    try:
        return images.images(references, with_intermediates=show_all)
    except ImageNotFound:
        try:
            with named_images(places, store=store):  # which knows what to suggest
                raise
        except NotFound as error:
            raise NotFound(str(error)) from None  # without notes of stores, which were reported before


def _print_images(
    images: Iterable[Listed], names: Mapping[Source, str], *, no_trunc: bool, with_type: bool
) -> None:
    """Print a line for each name, of which a narrow terminal shows whole all but where the image is."""
    with_source, now = len(names) > 1, datetime.now(UTC)
    kind, place = (["TYPE"] if with_type else []), (["SOURCE"] if with_source else [])
    lines = [["TAG", "ID" if with_type else "IMAGE ID", *kind, "CREATED", "LAYERS", "SIZE", *place]]
    for image in images:
        image_id = image.id if no_trunc else image.id.short
        created = "-" if image.created is None else age(image.created, now)
        layers = "-" if image.image is None else str(len(image.image.diff_ids))
        kind = [image.type] if with_type else []
        place = [", ".join(names[source] for source in image.sources)] if with_source else []
        size = human_size(image.size)
        for tag in image.tags or ["<none>"]:
            lines.append([printable(tag), image_id, *kind, created, layers, size, *place])
    cut = "SOURCE" if with_source and not no_trunc else None
    print_table(lines, right=("LAYERS", "SIZE"), cut=cut)


def _print_broken(problems: Sequence[tuple[str, Problem]], *, with_source: bool, as_json: bool) -> None:
    """Print a line for each name, or one with `-` if none is known."""
    if as_json:
        print_json([_broken(*problem) for problem in problems])
        return
    lines = [["TAG", "IMAGE ID", *(["SOURCE"] if with_source else []), "PROBLEM"]]
    for source, problem in problems:
        image_id = problem.image.removeprefix("sha256:")[:12]
        for name in problem.names or [""]:
            cells = [name, image_id, *([source] if with_source else []), problem]
            lines.append([printable(cell) or "-" for cell in cells])
    print_table(lines)


def _broken(source: str, problem: Problem) -> dict[str, object]:
    return {
        "id": problem.image or None,
        "tags": [utf8(name) for name in problem.names],
        "problem": utf8(problem),
        "source": utf8(source) or None,
    }
