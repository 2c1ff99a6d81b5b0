"""What several commands share: opening sources, options that mean the same everywhere, progress, sizes."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import NoReturn

import click
import platformdirs

from imgfs.cache import Cache
from imgfs.errors import ImgfsError, SourceNotFound, StoreError, describe
from imgfs.layers import Indexer
from imgfs.layers.background import BackgroundVerifier
from imgfs.layers.turn import Turn
from imgfs.own.writer import Writer
from imgfs.sources import Source, has_no_place, open_source
from imgfs.sources.own.layout import Layout
from imgfs.sources.own.store import default_path
from imgfs.sources.union import Union
from imgfs.store import Problem, Problems

store_option = click.option(
    "--store", metavar="PATH", help="Another store of imgfs than the default one.", envvar="IMGFS_STORE"
)
source_option = click.option(
    "--source", "sources", metavar="SOURCE", multiple=True, help="Look here instead of in the store of imgfs."
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
    help="Disk that indexes and decoded layers may take (default: 8G).",
)


def cache() -> Cache:
    """The one cache of this command: `$XDG_CACHE_HOME/imgfs`, of the size asked for."""
    meta = click.get_current_context().meta
    if _CACHE not in meta:
        limit = meta.get(_CACHE_SIZE, DEFAULT_CACHE_SIZE)
        meta[_CACHE] = Cache(platformdirs.user_cache_dir("imgfs"), limit)
    found: Cache = meta[_CACHE]
    return found


@contextmanager
def indexing(turn: Turn | None = None, verifier: BackgroundVerifier | None = None) -> Iterator[Indexer]:
    """What makes layers readable at random, for this command; stopped afterwards."""
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
    verifier: BackgroundVerifier | None = None,
) -> Iterator[Union]:
    """The sources named, or the store of imgfs when none is; closed afterwards.

    One given without a place, such as `docker:`, is left out with a warning if it cannot be opened and another can:
    no machine has every engine. One given with its place has to be there. Those in `also` are left out without a
    word where they are not there. With a `verifier`, layers that are read as they lie are verified by it.
    """
    sources: list[Source] = []
    missing: dict[str, Exception] = {}
    turn = Turn()
    with ExitStack() as indexers:
        try:
            for reference in (*(references or [f"imgfs:{store or ''}"]), *also):
                try:
                    # each has its own, as those that share one would wait for each other
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
            yield Union(sources, _skipped(missing, also, any_left=bool(sources)))
        finally:
            for source in sources:
                source.close()


def _skipped(missing: Mapping[str, Exception], also: Sequence[str], *, any_left: bool) -> Problems:
    """The sources that are left out with a warning. Raises what they failed with if there is no other."""
    if not any_left and len(missing) == 1:
        raise next(iter(missing.values()))
    if not any_left:
        reasons = "; ".join(f"{reference} {describe(error)}" for reference, error in missing.items())
        raise StoreError(f"none of the sources can be opened: {reasons}")
    problems = Problems()
    for reference, error in missing.items():
        if reference not in also or not is_absence(error):
            problems.report(f"leaving out {reference} {describe(error)}")
    return problems


def is_absence(error: Exception) -> bool:
    """Whether what opening a source raised says that there is nothing, rather than something unreadable."""
    return isinstance(error, (SourceNotFound, FileNotFoundError))


def end_of_list(problems: Sequence[tuple[str, Problem]]) -> NoReturn:
    """End a command that lists images: 3 if something is broken and was skipped, so that the list is not all."""
    click.get_current_context().exit(3 if problems else 0)


@contextmanager
def writing(store: str | None) -> Iterator[Writer]:
    """A writer of the store of imgfs."""
    with indexing() as indexer, Writer(Layout(store or default_path()), indexer) as writer:
        yield writer


@contextmanager
def progress_bar(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal; what is yielded takes the bytes done since."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from imgfs.cli.progress import bar  # takes longer to load than many a command to run

    with bar(label, total) as advance:
        yield advance


def utf8(text: str) -> str:
    """Text that JSON can hold: what is not UTF-8 in it, as file names may be, as escapes."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def human_size(size: int | None) -> str:
    """A size as docker prints it, in powers of 1000; `-` where it is unknown."""
    if size is None:
        return "-"
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.3g}{unit}" if amount < 1000 else f"{amount:.0f}{unit}"
