"""Finding a digest by the beginning of its hex.

Keeps the hex strings sorted, so that all digests sharing a prefix lie side by side. Knows no images: it only
says "No such image" because that is what people search for.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import islice

from imgfs.digest import Digest
from imgfs.errors import AmbiguousID, ImageNotFound


class DigestIndex:
    """A set of digests of any algorithm, searched by prefix. Its users do their own locking."""

    def __init__(self, digests: Iterable[Digest] = ()) -> None:
        self._digests = sorted(set(digests), key=_entry)

    def add(self, digest: Digest) -> None:
        """Add a digest; one that is there already is left as it is."""
        if digest not in self:
            insort(self._digests, digest, key=_entry)

    def remove(self, digest: Digest) -> None:
        """Remove a digest; does nothing if it is not there."""
        if digest in self:
            del self._digests[self._place(_entry(digest))]

    def __contains__(self, digest: Digest) -> bool:
        place = self._place(_entry(digest))
        return self._digests[place : place + 1] == [digest]

    def __len__(self) -> int:
        return len(self._digests)

    def search(self, term: str) -> Digest:
        """The one digest that `term` means: `algorithm:` and some hex digits, or hex digits alone.

        A digest's whole hex means that digest even if a longer one begins with it; the empty term means the
        only digest there is. Raises ImageNotFound if there is none, AmbiguousID if there are several.
        """
        algorithm, colon, prefix = term.rpartition(":")
        if colon and not (algorithm and prefix):
            raise ImageNotFound(term)
        matches = list(islice(self._matches(algorithm, prefix), 2))
        if not matches:
            raise ImageNotFound(term)
        if len(matches) > 1 and matches[0].hex != prefix:
            raise AmbiguousID(term)
        return matches[0]

    def _matches(self, algorithm: str, prefix: str) -> Iterator[Digest]:
        """Digests whose hex begins so, shorter before longer ones; of any algorithm if that is empty."""
        for place in range(self._place((prefix, "")), len(self._digests)):
            digest = self._digests[place]
            if not digest.hex.startswith(prefix):
                break
            if algorithm in ("", digest.algorithm):
                yield digest

    def _place(self, entry: tuple[str, str]) -> int:
        return bisect_left(self._digests, entry, key=_entry)


def _entry(digest: Digest) -> tuple[str, str]:
    algorithm, _, text = digest.partition(":")
    return text, algorithm
