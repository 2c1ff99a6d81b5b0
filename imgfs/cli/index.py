"""`imgfs index` and `imgfs cache`: indexing layers ahead of time, and managing the cache that keeps the indexes."""

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import click

from imgfs.cache import CacheEntry
from imgfs.cache.partial_file import PREFIX
from imgfs.cli.messages import progress_bar, tell
from imgfs.cli.opening import cache, cache_size_option, opened
from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.errors import ImgfsError, describe
from imgfs.layers import Layer, chain_ids, index_layer, stored_size
from imgfs.sizes import human_size
from imgfs.sources import Source
from imgfs.sources.union import Snapshot


@click.command(short_help="Index compressed layers ahead of time.")
@click.argument("source")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@cache_size_option
def index(source: str, images: tuple[str, ...]) -> None:
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
        for chain_id, (owner, _, _) in layers_of(snapshot, meant(snapshot, images)).items():
            try:
                with taken(owner, chain_id) as layer:
                    with progress_bar(layer.diff_id.short, stored_size(layer)) as advance:
                        index_layer(layer, advance)
            except (ImgfsError, OSError) as error:
                tell(describe(error))
                bad += 1
    click.get_current_context().exit(bool(bad))


@click.group("cache", short_help="Manage the cache.")
def cache_() -> None:
    """Manage the cache, which keeps indexes of layers, merged trees, and decoded copies of layers."""


@cache_.command("ls")
def cache_ls() -> None:
    """List the files of the cache, the least recently used first."""
    entries = cache().entries()
    for entry in entries:
        used = datetime.datetime.fromtimestamp(entry.used).astimezone()
        click.echo(f"{human_size(entry.size):>8}  {used:%Y-%m-%d %H:%M}  {entry.name}")
    click.echo(f"{human_size(sum(entry.size for entry in entries)):>8}  in {len(entries)} files")


@cache_.command("prune")
@cache_size_option
def cache_prune() -> None:
    """Remove the least recently used files until the cache takes no more than --cache-size."""
    _report(cache().prune())


@cache_.command("clear")
def cache_clear() -> None:
    """Remove all files except those being written. Exit status 1 if the cache cannot be used or a file removed."""
    _report(cache().prune(0))
    is_left = any(not entry.name.startswith(PREFIX) for entry in cache().entries())
    click.get_current_context().exit(cache().is_refused or is_left)


def _report(removed: Sequence[CacheEntry]) -> None:
    click.echo(f"Removed {len(removed)} files, {human_size(sum(entry.size for entry in removed))}")


def meant(snapshot: Snapshot, terms: Sequence[str]) -> Sequence[ImageID]:
    """The images that `terms` name, or all that the sources were asked for."""
    return list(dict.fromkeys(map(snapshot.resolve, terms))) if terms else snapshot.wanted


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


@contextmanager
def taken(source: Source, chain_id: ChainID) -> Iterator[Layer]:
    layer = source.layers.get(chain_id)
    try:
        yield layer
    finally:
        source.layers.release(layer)
