"""The digests of the regular files of a tar that passes by, in the order of its members.

With them two images are compared without any of their data. A file whose content is not one range of the tar, as a
sparse one, or that is cut off, has a digest of zeros: not known. Tried by the tests of `index_pass`.
"""

import hashlib
from collections import deque
from collections.abc import Iterable

from imgfs.tar import Member

DIGEST_SIZE = 32
UNKNOWN = bytes(DIGEST_SIZE)
"""The digest of a file whose content is not known."""
_EMPTY = hashlib.sha256().digest()


class FileDigests:
    """Takes the bytes of a tar in order, each chunk with the members whose headers are complete by its end."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        # where content begins and ends, and its file's number
        self._waiting: deque[tuple[int, int, int]] = deque()
        self._sha = hashlib.sha256()

    def update(self, members: Iterable[Member], chunk: bytes | memoryview, offset: int) -> None:
        """Take the next bytes, those at `offset` of the tar."""
        for member in members:
            if member.is_file:
                if member.sparse is None and member.stored_size:
                    start = member.data_offset
                    self._waiting.append((start, start + member.stored_size, len(self._digests)))
                self._digests.append(UNKNOWN if member.sparse is not None or member.stored_size else _EMPTY)
        view, end = memoryview(chunk), offset + len(chunk)
        while self._waiting and self._waiting[0][0] < end:
            start, stop, number = self._waiting[0]
            self._sha.update(view[max(start - offset, 0) : stop - offset])
            if stop > end:
                return
            self._digests[number] = self._sha.digest()
            self._sha = hashlib.sha256()
            self._waiting.popleft()

    def finish(self) -> bytes:
        """The sha256 digest of each regular file, 32 bytes each."""
        return b"".join(self._digests)
