"""The digests of the files of a layer, by their places: two files with known digests are compared without being read.

They come of the index or the table of contents that the files' contents would be read by, and are trusted as far as
that is.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from imgfs.errors import Corrupt
from imgfs.layers.member_digests import DIGEST_SIZE, UNKNOWN
from imgfs.tar import Member


class DigestMap:
    """Files, in the order of their places, with the sha256 digests of their contents as far as these are known.

    A place is the offset of a member that stores some bytes; no other member is there. 40 bytes of memory a file.
    """

    def __init__(self, files: Iterable[tuple[Member, bytes]]) -> None:
        self._places = array("Q")
        self._digests = bytearray()
        for member, digest in files:
            if member.stored_size and digest != UNKNOWN:
                self._places.append(member.offset)
                self._digests += digest

    def at(self, place: int) -> bytes | None:
        """The digest of the file whose member begins at `place`; None if it is not known."""
        number = bisect_left(self._places, place)
        if number == len(self._places) or self._places[number] != place:
            return None
        return bytes(self._digests[DIGEST_SIZE * number : DIGEST_SIZE * (number + 1)])


def map_digests(members: Sequence[Member], digests: bytes) -> DigestMap | None:
    """The digests that `FileDigests` found of the files among `members`; None if it found none at all.

    Raises Corrupt if there are more or fewer than files, and what going through the members raises.
    """
    if not digests:
        return None
    if len(digests) != DIGEST_SIZE * sum(member.is_file for member in members):
        raise Corrupt("layer index: its digests of files are not as many as its files")
    files = (member for member in members if member.is_file)
    each = (digests[start : start + DIGEST_SIZE] for start in range(0, len(digests), DIGEST_SIZE))
    return DigestMap(zip(files, each, strict=True))
