"""The images that a command is given, found as `sources.lookup` does, with the options that choose where."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from imgfs.cli.messages import progress_bar
from imgfs.cli.opening import cache
from imgfs.cli.remedies import explained, remedy
from imgfs.sources.lookup import ChosenImage, choose_images


@contextmanager
def named_images(
    terms: Sequence[str], sources: Sequence[str] = (), store: str | None = None
) -> Iterator[list[ChosenImage]]:
    """The images that `terms` name, in their order; what they were found in is closed at the end.

    If `sources` or a `store` are given, nothing else is looked into. Raises what `choose_images` raises.
    """
    places = sources or [f"imgfs:{store or ''}"]
    choosing = choose_images(
        terms, cache(), places, only=bool(sources or store), progress=progress_bar, remedy=remedy
    )
    with ExitStack() as stack:
        with explained(remedy):
            found = stack.enter_context(choosing)
        yield found


@contextmanager
def named_image(term: str, sources: Sequence[str] = (), store: str | None = None) -> Iterator[ChosenImage]:
    """The image that `term` names; as `named_images` otherwise."""
    with named_images([term], sources, store) as (found,):
        yield found
