"""`imgfs index`: indexing layers ahead of time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from queue import SimpleQueue

import click

from imgfs.cli.bars import command_bars
from imgfs.cli.json_output import json_lines_option, print_json_line
from imgfs.cli.layers_of_source import layers_of, meant, owner_names, taken
from imgfs.cli.messages import tell, utf8
from imgfs.cli.opening import cache, cache_size_option, opened, registries
from imgfs.digest import ChainID, ImageID
from imgfs.errors import ImgfsError, describe
from imgfs.layers import chain_ids, index_layer, stored_size
from imgfs.layers.index_file import LayerIndex
from imgfs.layers.progress import no_progress
from imgfs.locate.catalog import Catalog
from imgfs.locate.survey import StackedLayer, Survey
from imgfs.registry.reference import is_registry_reference, is_tag, parse_registry_reference
from imgfs.sources import Source
from imgfs.sources.union import Snapshot, Union


@click.command(short_help="Index compressed layers ahead of time.")
@click.argument("source")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("--push", is_flag=True, help="Push the index to the registry of the image, for other machines.")
@click.option("--pin", metavar="TAG", help="Push it, and the image under TAG with the digest of the index.")
@json_lines_option
@cache_size_option
def index(source: str, images: tuple[str, ...], push: bool, pin: str | None, as_json: bool) -> None:
    """Index the compressed layers of each IMAGE in SOURCE, or of all images, so that no reader has to wait for it, nor
    imgfs locate.

    SOURCE may be an image, too. Where it is in a registry, its layers are read once, and with --push its index is kept
    beside it: then another machine lists it without any byte of its layers, and reads of a file little more than that
    (see imgfs help registries).

    \b
    Examples:
      imgfs index containerd:
      imgfs index debian:12
      imgfs index --push docker://registry.example/app:1
    """
    bad = 0
    to_share = push or pin is not None
    with opened([source]) as union:
        snapshot = union.snapshot
        wanted = meant(union, images)
        if to_share:
            _check_pushed(union, wanted, pin)
        indexes: dict[ChainID, LayerIndex] = {}
        layers = layers_of(snapshot, wanted)
        with _indexed_to_locate(union) as to_locate:
            for number, (chain_id, (owner, diff_id, owners)) in enumerate(layers.items(), 1):
                label = f"layer {number} of {len(layers)}  {diff_id.short}"
                size = problem = None
                try:
                    size, made = _index(owner, chain_id, label, to_share=to_share)
                    if made is not None:
                        indexes[chain_id] = made
                    if not is_registry_reference(owner.reference):
                        to_locate(StackedLayer(owner, chain_id, diff_id))
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
        if to_share and not bad:
            for image_id in wanted:
                _push(snapshot, image_id, indexes, pin)
    if not as_json:
        done = len(layers) - bad
        tell(f"{done} layer{'s' * (done != 1)} indexed" + (f", {bad} failed" if bad else ""))
    click.get_current_context().exit(bool(bad))


def _index(
    source: Source, chain_id: ChainID, label: str, *, to_share: bool
) -> tuple[int | None, LayerIndex | None]:
    """Index a layer, showing how far that is; returns the size of its tar and its index, as far as there are these."""
    with taken(source, chain_id) as layer:
        with command_bars()(label, stored_size(layer)) as advance:
            made = index_layer(layer, advance, to_share=to_share)
        return layer.look_for_size(), made


@contextmanager
def _indexed_to_locate(union: Union) -> Iterator[Callable[[StackedLayer], None]]:
    """Indexes for imgfs locate the layers that the function which it gives is called with, beside what is done next."""
    kept, layers = cache().of(union.writers), SimpleQueue[StackedLayer | None]()

    def survey() -> None:
        waiting = iter(layers.get, None)
        for first in waiting:  # without any, the catalog is not read
            catalog = Catalog(kept, {})
            Survey(union, catalog, no_progress, tell).index_each(chain([first], waiting))

    with ThreadPoolExecutor(1) as pool:
        surveyed = pool.submit(survey)
        try:
            yield layers.put
        finally:
            layers.put(None)
        surveyed.result()


def _check_pushed(union: Union, images: Sequence[ImageID], pin: str | None) -> None:
    """Raise UsageError if the indexes of some images cannot be pushed."""
    if not all(is_registry_reference(source.reference) for source in union.sources):
        raise click.UsageError("--push: only the index of an image in a registry, docker://…, can be pushed")
    if pin is not None and len(images) != 1:
        raise click.UsageError("--pin: name one image")
    if pin is not None and not is_tag(pin):
        raise click.UsageError(f"--pin: {pin!r} is not a valid tag")


def _push(
    snapshot: Snapshot, image_id: ImageID, indexes: Mapping[ChainID, LayerIndex], pin: str | None
) -> None:
    """Push the index of an image, whose layers have these."""
    from imgfs.saving.index_pushing import PushedImage, push_image_index, push_pinned

    source = snapshot.source_of(image_id)
    reached = registries()
    own = parse_registry_reference(source.reference).repository
    chains = chain_ids(snapshot.images[image_id].diff_ids)
    image = PushedImage(source.manifest(image_id) or b"", [indexes[chain_id] for chain_id in chains])
    where = reached.client.repository(reached.index_repository or own)
    with command_bars()("index", None) as advance:
        digest = push_image_index(image, where, advance)
    tell(f"index {digest} pushed to docker://{where.name}")
    if pin is not None:
        pinned = push_pinned(image, digest, reached.client.repository(own), pin)
        tell(f"image {pinned} with that index pushed as docker://{own}:{pin}")
