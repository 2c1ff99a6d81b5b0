"""The images and containers that a command is given, found as `sources.lookup` does, where options say.

What the functions here are context managers of is closed at the end. If `sources` or a `store` are given, nothing else
is looked into. They raise what `choose` raises.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from imgfs.cli.opening import opening
from imgfs.cli.remedies import explained, remedy
from imgfs.sources.chosen import ChosenContainer, ChosenImage, ChosenRoot
from imgfs.sources.lookup import Find, choose, container_meant, image_meant, root_meant

Chosen = TypeVar("Chosen", bound=ChosenRoot)


@contextmanager
def named(
    find: Find[Chosen],
    terms: Sequence[str],
    sources: Sequence[str] = (),
    store: str | None = None,
    *,
    with_all: bool = False,
) -> Iterator[list[Chosen]]:
    """What `terms` name, in their order, as `find` finds it; `with_all` as of `choose`."""
    places = sources or [f"imgfs:{store or ''}"]
    choosing = choose(find, terms, opening(), places, only=bool(sources or store), with_all=with_all)
    with ExitStack() as stack:
        with explained(remedy):
            found = stack.enter_context(choosing)
        yield found


@contextmanager
def named_images(
    terms: Sequence[str], sources: Sequence[str] = (), store: str | None = None
) -> Iterator[list[ChosenImage]]:
    """The images that `terms` name, in their order."""
    with named(image_meant, terms, sources, store) as found:
        yield found


@contextmanager
def named_image(term: str, sources: Sequence[str] = (), store: str | None = None) -> Iterator[ChosenImage]:
    """The image that `term` names."""
    with named(image_meant, [term], sources, store) as (found,):
        yield found


@contextmanager
def named_roots(
    terms: Sequence[str], sources: Sequence[str] = (), store: str | None = None
) -> Iterator[list[ChosenRoot]]:
    """The images or containers that `terms` name, in their order."""
    with named(root_meant, terms, sources, store) as found:
        yield found


@contextmanager
def named_root(term: str, sources: Sequence[str] = (), store: str | None = None) -> Iterator[ChosenRoot]:
    """The image or container that `term` names."""
    with named(root_meant, [term], sources, store) as (found,):
        yield found


@contextmanager
def named_container(
    term: str, sources: Sequence[str] = (), store: str | None = None
) -> Iterator[ChosenContainer]:
    """The container that `term` names."""
    with named(container_meant, [term], sources, store) as (found,):
        yield found
