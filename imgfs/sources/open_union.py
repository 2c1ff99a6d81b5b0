"""Opening several sources as one, for as long as they are used.

Tried by the tests of the commands that open several, and of the Python API.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager

from imgfs.errors import ImgfsError, SourceNotFound, StoreError, describe
from imgfs.layers import Indexer
from imgfs.layers.turn import Turn
from imgfs.sources import Source, has_no_place, open_source
from imgfs.sources.opening import Opening, Remedy
from imgfs.sources.union import Union
from imgfs.store import Problems


@contextmanager
def open_each(
    references: Sequence[str],
    opening: Opening,
    *,
    also: Sequence[str] = (),
    unreadable: list[str] | None = None,
) -> Iterator[tuple[Mapping[str, Source], Problems]]:
    """Each source by its reference, and which are skipped; closed at the end. A place with two names is one source.

    A source given without a place, such as `docker:`, is skipped with a warning if it cannot be opened and another
    can: no machine has every engine. A source given with its place must exist. Sources in `also` are skipped without
    a warning if they do not exist; those that cannot be read are skipped with one, which is no problem, or listed in
    `unreadable` instead if that is given.

    Raises what `open_source` raises.
    """
    opened: dict[str, Source] = {}
    missing: dict[str, Exception] = {}
    turn, remedy, registries = Turn(), opening.remedy, opening.reaching
    with ExitStack() as indexers:
        try:
            for reference in (*references, *also):
                # one each: sources that shared an indexer would wait for each other
                indexer = Indexer(opening.cache, turn, opening.verifier, opening.progress)
                indexers.enter_context(closing(indexer))
                try:
                    source = open_source(reference, indexer, registries)
                except (ImgfsError, OSError) as error:
                    if not has_no_place(reference) and reference not in also:
                        raise
                    missing[reference] = error
                    continue
                same = next((each for each in opened.values() if each.reference == source.reference), None)
                if same is not None:  # the same place by another name
                    source.close()
                opened[reference] = same or source
            if unreadable is not None and opened:
                problems = ((place, error) for place, error in missing.items() if not is_absence(error))
                unreadable += [f"{_said(place, error)}{remedy(error)}" for place, error in problems]
                missing.clear()
            yield opened, _skipped(missing, references, also, remedy, any_left=bool(opened))
        finally:
            for source in dict.fromkeys(opened.values()):
                source.close()


@contextmanager
def open_union(
    references: Sequence[str],
    opening: Opening,
    *,
    also: Sequence[str] = (),
    unreadable: list[str] | None = None,
) -> Iterator[Union]:
    """The sources that `open_each` opens, seen as one."""
    with open_each(references, opening, also=also, unreadable=unreadable) as found:
        opened, skipped = found
        yield Union(list(dict.fromkeys(opened.values())), skipped, opened)


def is_absence(error: Exception) -> bool:
    """Whether opening a source failed because there is none, rather than one that cannot be read."""
    return isinstance(error, (SourceNotFound, FileNotFoundError))


def _said(reference: str, error: Exception) -> str:
    """A place that cannot be opened, and why."""
    scheme = reference.partition(":")[0]
    return f"{reference if has_no_place(reference) else f'{scheme}:'} {describe(error)}"


def _skipped(
    missing: Mapping[str, Exception],
    references: Sequence[str],
    also: Sequence[str],
    remedy: Remedy,
    *,
    any_left: bool,
) -> Problems:
    """A warning for each source that is skipped. Raises what they failed with if there is no other source."""
    if not any_left and len(missing) == 1:
        raise next(iter(missing.values()))
    if not any_left and missing.keys() - set(also):
        reasons = "; ".join(f"{reference} {describe(error)}" for reference, error in missing.items())
        denied = next((error for error in missing.values() if isinstance(error, PermissionError)), None)
        raise StoreError(f"none of the sources can be opened: {reasons}") from denied
    problems = Problems()
    for reference, error in missing.items():
        line = f"skipping {_said(reference, error)}{remedy(error)}"
        if reference not in also:
            problems.report(line)
        elif not is_absence(error):
            (problems.report if reference in references else problems.note)(line)
    return problems
