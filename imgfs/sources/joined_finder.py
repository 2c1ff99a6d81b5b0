"""Several finders as one, such as those of the stores that one engine uses side by side.

Tried by the tests of Docker's data roots.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain

from imgfs.blob import Blob
from imgfs.digest import ImageID
from imgfs.sources.content_store import ContentStore, Top
from imgfs.sources.finder import Check, Finder, Found, Report
from imgfs.sources.manifests import Descriptor


class JoinedFinder(Finder, ContentStore):
    """What `finders` find, one after the other; of equal names, the first one's counts. Owns them."""

    def __init__(self, finders: Sequence[Finder]) -> None:
        self.reference = finders[0].reference
        self.folders = tuple(dict.fromkeys(chain.from_iterable(finder.folders for finder in finders)))
        self.writers = frozenset[int]().union(*(finder.writers for finder in finders))
        self._finders = finders

    def find(self, report: Report) -> Iterator[Found]:
        for finder in self._finders:
            yield from finder.find(report)

    def stamp(self) -> object:
        return [finder.stamp() for finder in self._finders]

    def watched(self) -> Iterable[str] | None:
        found = [finder.watched() for finder in self._finders]
        return None if None in found else chain.from_iterable(filter(None, found))

    def checks(self) -> Iterable[Check]:
        return chain.from_iterable(finder.checks() for finder in self._finders)

    def last_updated(self, image_id: ImageID) -> datetime | None:
        times = (finder.last_updated(image_id) for finder in self._finders)
        return next((time for time in times if time is not None), None)

    def tops(self) -> Iterable[Top]:
        return chain.from_iterable(store.tops() for store in self._content_stores)

    def open_content(self, descriptor: Descriptor) -> Blob:
        for store in self._content_stores:
            with suppress(FileNotFoundError):
                return store.open_content(descriptor)
        raise FileNotFoundError(f"{self.reference}: no blob {descriptor.digest}")

    @property
    def _content_stores(self) -> Sequence[ContentStore]:
        return [finder for finder in self._finders if isinstance(finder, ContentStore)]

    def close(self) -> None:
        for finder in self._finders:
            finder.close()
