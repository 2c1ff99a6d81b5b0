"""Opening what a command works on, sources, our own store and the cache, and the options that choose them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import click
import platformdirs

from imgfs.cache import Cache
from imgfs.digest import ImageID
from imgfs.errors import ImgfsError, SourceNotFound, StoreError, describe
from imgfs.layers import Indexer
from imgfs.layers.background import BackgroundVerifier
from imgfs.layers.turn import Turn
from imgfs.own.writer import Writer
from imgfs.rootfs import RootFS, TreeCache
from imgfs.sources import Source, has_no_place, open_source
from imgfs.sources.own.layout import Layout
from imgfs.sources.own.store import default_path
from imgfs.sources.union import Snapshot, Union
from imgfs.store import Problems

store_option = click.option(
    "--store", metavar="PATH", help="Use the store of imgfs at PATH.", envvar="IMGFS_STORE"
)
source_option = click.option(
    "--source",
    "sources",
    metavar="SOURCE",
    multiple=True,
    help="Use images of SOURCE instead of the store of imgfs.",
)


DEFAULT_CACHE_SIZE = 8 << 30
_CACHE_SIZE, _CACHE = "imgfs.cache_size", "imgfs.cache"


def parse_size(text: str) -> int:
    """A size in bytes from a number with an optional K, M, G or T. Raises click.BadParameter."""
    match = re.fullmatch(r"(\d{1,18})(?:([KMGT])(?:i?B)?)?", text.strip(), re.IGNORECASE | re.ASCII)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a size such as 500M or 8G")
    return int(match[1]) << 10 * " KMGT".index((match[2] or " ").upper())


def _take_cache_size(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[_CACHE_SIZE] = parse_size(value)


cache_size_option = click.option(
    "--cache-size",
    metavar="SIZE",
    envvar="IMGFS_CACHE_SIZE",
    expose_value=False,
    callback=_take_cache_size,
    help="Limit the disk space that the cache takes (default: 8G).",
)


def cache() -> Cache:
    """The cache of this command, `$XDG_CACHE_HOME/imgfs`; the same object at each call."""
    meta = click.get_current_context().meta
    if _CACHE not in meta:
        limit = meta.get(_CACHE_SIZE, DEFAULT_CACHE_SIZE)
        meta[_CACHE] = Cache(platformdirs.user_cache_dir("imgfs"), limit)
    found: Cache = meta[_CACHE]
    return found


@contextmanager
def indexing(turn: Turn | None = None, verifier: BackgroundVerifier | None = None) -> Iterator[Indexer]:
    """An indexer over the cache of this command; closed at the end."""
    indexer = Indexer(cache(), turn, verifier)
    try:
        yield indexer
    finally:
        indexer.close()


@contextmanager
def opened(
    references: Sequence[str],
    store: str | None = None,
    *,
    also: Sequence[str] = (),
    unreadable: list[str] | None = None,
    verifier: BackgroundVerifier | None = None,
) -> Iterator[Union]:
    """The sources named, or the store of imgfs if none is; closed at the end.

    A source given without a place, such as `docker:`, is skipped with a warning if it cannot be opened and another
    can: no machine has every engine. A source given with its place must exist. Sources in `also` are skipped without
    a warning if they do not exist; those that cannot be read are listed in `unreadable` instead if it is given. With a
    `verifier`, layers that are stored uncompressed are verified by it.
    """
    sources: list[Source] = []
    missing: dict[str, Exception] = {}
    turn = Turn()
    with ExitStack() as indexers:
        try:
            for reference in (*(references or [f"imgfs:{store or ''}"]), *also):
                try:
                    # one each: sources that shared an indexer would wait for each other
                    source = open_source(reference, indexers.enter_context(indexing(turn, verifier)))
                except (ImgfsError, OSError) as error:
                    if not has_no_place(reference):
                        raise
                    missing[reference] = error
                    continue
                if source.reference in (other.reference for other in sources):
                    source.close()  # the same place by another name
                else:
                    sources.append(source)
            if unreadable is not None and sources:
                unreadable += [
                    f"{reference} {describe(error)}"
                    for reference, error in missing.items()
                    if not is_absence(error)
                ]
                missing.clear()
            yield Union(sources, _skipped(missing, also, any_left=bool(sources)))
        finally:
            for source in sources:
                source.close()


def root_fs(snapshot: Snapshot, image_id: ImageID) -> RootFS:
    """What a container of the image would see, from the source that has all of its layers if any has."""
    layers = snapshot.source_of(image_id).store.layers(image_id)
    return RootFS.of(layers, TreeCache(cache().of(snapshot.writers)), f"image {image_id}")


def _skipped(missing: Mapping[str, Exception], also: Sequence[str], *, any_left: bool) -> Problems:
    """A warning for each source that is skipped. Raises what they failed with if there is no other source."""
    if not any_left and len(missing) == 1:
        raise next(iter(missing.values()))
    if not any_left:
        reasons = "; ".join(f"{reference} {describe(error)}" for reference, error in missing.items())
        raise StoreError(f"none of the sources can be opened: {reasons}")
    problems = Problems()
    for reference, error in missing.items():
        if reference not in also or not is_absence(error):
            problems.report(f"skipping {reference} {describe(error)}")
    return problems


def is_absence(error: Exception) -> bool:
    """Whether opening a source failed because there is none, rather than one that cannot be read."""
    return isinstance(error, (SourceNotFound, FileNotFoundError))


@contextmanager
def writing(store: str | None) -> Iterator[Writer]:
    """A writer of the store of imgfs; closed at the end."""
    with indexing() as indexer, Writer(Layout(store or default_path()), indexer) as writer:
        yield writer
