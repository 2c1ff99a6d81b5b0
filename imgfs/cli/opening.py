"""Opening what a command works on, sources, our own store and the cache, and the options that choose them."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

import click

from imgfs.cli.bars import command_bars
from imgfs.cli.cache_options import cache, cache_size_option
from imgfs.cli.reaching import registries_given
from imgfs.cli.remedies import explained, remedy
from imgfs.cli.source_options import source_option, store_option
from imgfs.layers import Indexer
from imgfs.layers.background import BackgroundVerifier
from imgfs.own.writer import Writer
from imgfs.sources import default_sources
from imgfs.sources.lookup import open_sources
from imgfs.sources.opening import Opening, Remedy
from imgfs.sources.own.layout import Layout
from imgfs.sources.own.store import default_path
from imgfs.sources.registries import Registries
from imgfs.sources.union import Union

logger = logging.getLogger("imgfs")

__all__ = [
    "cache",
    "cache_size_option",
    "indexing",
    "opened",
    "opening",
    "registries",
    "source_option",
    "store_option",
    "writing",
]

_REGISTRIES = "imgfs.registries"


def registries() -> Registries:
    """How this command reaches registries; the same object at each call."""
    context = click.get_current_context()
    if _REGISTRIES not in context.meta:
        made = context.meta[_REGISTRIES] = registries_given(context, cache(), command_bars())

        def log_cost() -> None:
            cost = made.stats.describe()
            if cost:
                logger.info("registries: %s", cost)

        context.call_on_close(log_cost)
    found: Registries = context.meta[_REGISTRIES]
    return found


def opening(verifier: BackgroundVerifier | None = None, remedy: Remedy = remedy) -> Opening:
    """How this command opens sources."""
    return Opening(cache(), verifier, command_bars(), remedy, registries())


@contextmanager
def indexing() -> Iterator[Indexer]:
    """An indexer over the cache of this command; closed at the end."""
    with closing(Indexer(cache())) as indexer:
        yield indexer


@contextmanager
def opened(
    references: Sequence[str] = (),
    store: str | None = None,
    *,
    everywhere: bool = False,
    verifier: BackgroundVerifier | None = None,
    remedy: Remedy = remedy,
) -> Iterator[Union]:
    """The sources named, as `open_sources` opens them; closed at the end.

    If none is, the store of imgfs at `store` or if that is None, every store of the machine that can be read, as also
    with `everywhere`. Errors and warnings say the `remedy`.
    """
    named = references or ([] if store is None else [f"imgfs:{os.path.abspath(store)}"])
    also = default_sources() if everywhere or not named else ()
    sources = open_sources(named, opening(verifier, remedy), also=also)
    with ExitStack() as stack:
        with explained(remedy):
            union = stack.enter_context(sources)
        yield union


@contextmanager
def writing(store: str | None) -> Iterator[Writer]:
    """A writer of the store of imgfs; closed at the end."""
    with indexing() as indexer, Writer(Layout(store or default_path()), indexer) as writer:
        yield writer
