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
        self._entries = sorted({_entry(digest) for digest in digests})

    def add(self, digest: Digest) -> None:
        """Add a digest; one that is there already is left as it is."""
        if digest not in self:
            insort(self._entries, _entry(digest))

    def remove(self, digest: Digest) -> None:
        """Remove a digest; does nothing if it is not there."""
        if digest in self:
            del self._entries[bisect_left(self._entries, _entry(digest))]

    def __contains__(self, digest: Digest) -> bool:
        place = bisect_left(self._entries, _entry(digest))
        return self._entries[place : place + 1] == [_entry(digest)]

    def __len__(self) -> int:
        return len(self._entries)

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
        for place in range(bisect_left(self._entries, (prefix, "")), len(self._entries)):
            text, name = self._entries[place]
            if not text.startswith(prefix):
                break
            if algorithm in ("", name):
                yield Digest(f"{name}:{text}")


def _entry(digest: Digest) -> tuple[str, str]:
    algorithm, _, text = digest.partition(":")
    return text, algorithm
