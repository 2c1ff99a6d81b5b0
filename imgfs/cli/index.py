"""`imgfs index`: indexing layers ahead of time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import click

from imgfs.cli.json_output import json_lines_option, print_json_line
from imgfs.cli.messages import progress_bar, tell, utf8
from imgfs.cli.opening import cache_size_option, opened
from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.errors import ImgfsError, describe
from imgfs.layers import Layer, chain_ids, index_layer, stored_size
from imgfs.sources import Source
from imgfs.sources.lookup import find_image
from imgfs.sources.union import Snapshot, Union


@click.command(short_help="Index compressed layers ahead of time.")
@click.argument("source")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@json_lines_option
@cache_size_option
def index(source: str, images: tuple[str, ...], as_json: bool) -> None:
    """Index the compressed layers of each IMAGE in SOURCE, or of all images, so that no reader has to wait for it.

    SOURCE may be an image, too.

    \b
    Examples:
      imgfs index containerd:
      imgfs index debian:12
    """
    bad = 0
    with opened([source]) as union:
        snapshot = union.snapshot
        layers = layers_of(snapshot, meant(union, images))
        for number, (chain_id, (owner, diff_id, owners)) in enumerate(layers.items(), 1):
            label = f"layer {number} of {len(layers)}  {diff_id.short}"
            size = problem = None
            try:
                with taken(owner, chain_id) as layer:
                    with progress_bar(label, stored_size(layer)) as advance:
                        index_layer(layer, advance)
                    size = layer.look_for_size()
            except (ImgfsError, OSError) as error:
                problem = describe(error)
                tell(problem)
                bad += 1
            if as_json:
                problem = None if problem is None else utf8(problem)
                print_json_line(
                    {
                        "diff_id": diff_id,
                        "size": size,
                        "images": owner_names(snapshot, owners),
                        "problem": problem,
                    }
                )
    if not as_json:
        done = len(layers) - bad
        tell(f"{done} layer{'s' * (done != 1)} indexed" + (f", {bad} failed" if bad else ""))
    click.get_current_context().exit(bool(bad))


def meant(union: Union, terms: Sequence[str]) -> Sequence[ImageID]:
    """The images that `terms` name, or all that the sources were asked for."""
    return list(dict.fromkeys(find_image(term, union) for term in terms)) if terms else union.snapshot.wanted


def layers_of(
    snapshot: Snapshot, images: Iterable[ImageID]
) -> Mapping[ChainID, tuple[Source, DiffID, list[ImageID]]]:
    """The layers of some images: the source of each, its diff ID, and the images that have it."""
    found: dict[ChainID, tuple[Source, DiffID, list[ImageID]]] = {}
    for image_id in images:
        source = snapshot.source_of(image_id)
        diff_ids = snapshot.images[image_id].diff_ids
        for chain_id, diff_id in zip(chain_ids(diff_ids), diff_ids, strict=True):
            found.setdefault(chain_id, (source, diff_id, []))[2].append(image_id)
    return found


def owner_names(snapshot: Snapshot, images: Iterable[ImageID]) -> list[str]:
    """The names of some images, or their short IDs."""
    return [name for image_id in images for name in snapshot.tags_of(image_id) or [image_id.short]]


@contextmanager
def taken(source: Source, chain_id: ChainID) -> Iterator[Layer]:
    layer = source.layers.get(chain_id)
    try:
        yield layer
    finally:
        source.layers.release(layer)
