"""What is learnt of a tar while its bytes pass by in order, and of the tars inside it.

Tried by the tests of `index_pass` and `compressed_file`.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from imgfs.codec import Compression
from imgfs.codec.span_map import pack_map
from imgfs.digest import Digest
from imgfs.errors import Corrupt
from imgfs.layers.hashing import Hashes
from imgfs.layers.index_file import IndexData, IndexHeader
from imgfs.layers.member_list import MemberPacker
from imgfs.tar import FOLLOWED, Member, Scanner
from imgfs.tar.fields import BLOCK

logger = logging.getLogger("imgfs")

ANY_LENGTH = 1 << 62
_WORTH_IT = 1 << 20  # bytes of an inner tar; a smaller one is scanned in no time


class PassingTar:
    """A tar called `name`, which is stored in `stored` bytes and hashed by `algorithm`.

    Members whose names are longer than `longest_name` bytes are not listed.

    `size` is how many bytes have passed by, `damage` is why not all of its members can be read, which is logged unless
    the caller `reports_damage` itself.
    """

    def __init__(
        self,
        stored: int,
        name: str,
        algorithm: str = "sha256",
        *,
        reports_damage: bool = False,
        longest_name: int = ANY_LENGTH,
    ) -> None:
        self.size = 0
        self.damage = ""
        self.scanner = Scanner()
        self._name = name
        self._longest_name = longest_name
        self._level = logging.DEBUG if reports_damage else logging.WARNING
        self._hashes = Hashes(algorithm)
        self._members = MemberPacker(stored)
        self._scanning = True
        self._behind = b""

    def update(self, chunk: bytes | memoryview) -> Sequence[Member]:
        """Take the bytes that come next; returns the members whose headers are complete by now."""
        self.size += len(chunk)
        self._hashes.update(chunk)
        members = self._scan(chunk)
        self._look_behind_ending(chunk)
        return members

    def finish(self) -> tuple[Digest, bytes, bytes]:
        """The tar's digest, the checksums of its blocks, and its members as they are packed."""
        if any(self._behind):
            self._broken(Corrupt(f"{FOLLOWED}, at offset {self.scanner.ending}"))
        if self._scanning:
            try:
                self.scanner.finish()
            except Corrupt as error:
                self._broken(error)
        return *self._hashes.finish(), self._members.finish()

    def _scan(self, chunk: bytes | memoryview) -> Sequence[Member]:
        if not self._scanning:
            return ()
        try:
            members = self.scanner.feed(chunk)
            self._members.add(member for member in members if len(member.name) <= self._longest_name)
        except Corrupt as error:  # also of too many: there may be no end of them
            self._scanning = False
            self._broken(error)
            return ()
        return members

    def _look_behind_ending(self, chunk: bytes | memoryview) -> None:
        """Keep the block behind the first of zeros: engines refuse a layer where that is another one."""
        ending, missing = self.scanner.ending, BLOCK - len(self._behind)
        if ending is not None and missing:
            start = max(ending + 2 * BLOCK - missing - (self.size - len(chunk)), 0)
            self._behind += bytes(chunk[start : start + missing])

    def _broken(self, error: Corrupt) -> None:
        self.damage = self.damage or str(error)
        log_damage(self._name, str(error), self._level)


def log_damage(name: str, damage: str, level: int = logging.WARNING) -> None:
    """Log why not all members of the tar called `name` can be read."""
    logger.log(level, "%s: not all of its members can be read: %s", name, damage)


class InnerTars:
    """The tars among the members of one, as layers in an archive are stored; `keep` takes the index of each.

    The outer one is stored in `stored` bytes. What is no tar, small or damaged is left to be learnt of when it is read.
    """

    def __init__(self, stored: int, keep: Callable[[IndexData], object]) -> None:
        self._stored = stored
        self._keep = keep
        self._waiting: deque[Member] = deque()
        self._tar: PassingTar | None = None  # the first of those

    def update(self, members: Iterable[Member], chunk: bytes | memoryview, offset: int) -> None:
        """Take the next bytes of the outer tar, those at `offset`, and the members that were found in them."""
        self._waiting += (
            member
            for member in members
            if member.is_file and member.sparse is None and member.stored_size >= _WORTH_IT
        )
        view, end = memoryview(chunk), offset + len(chunk)
        while self._waiting and self._waiting[0].data_offset < end:
            member = self._waiting[0]
            start, stop = member.data_offset, member.data_offset + member.stored_size
            if offset <= start:
                self._tar = PassingTar(self._stored, "inner tar", reports_damage=True)
            tar = self._tar
            if tar is not None:
                tar.update(view[max(start - offset, 0) : stop - offset])
                if tar.damage or tar.scanner.ending == 0:  # without members, as also zeros are
                    self._tar = None
            if stop > end:
                return
            self._end()

    def _end(self) -> None:
        tar, self._tar = self._tar, None
        self._waiting.popleft()
        if tar is None:
            return
        digest, checksums, members = tar.finish()
        if not tar.damage:
            header = IndexHeader(
                Compression.PLAIN, digest, tar.size, digest, tar.size, tar.scanner.ending, tar.damage
            )
            sections = {
                "stored": checksums,
                "plain": checksums,
                "spans": pack_map(None, None),
                "windows": b"",
                "members": members,
                "files": b"",
            }
            self._keep(IndexData(header, sections))
