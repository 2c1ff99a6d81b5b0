"""A layer's tar assembled from a tar-split and the files of the layer's directory: random access, no copy."""

import errno
import logging
import os
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from itertools import chain, pairwise
from threading import Lock
from typing import Protocol

from imgfs.blob import Blob
from imgfs.blob.file_tree import FileTree
from imgfs.blob.held_files import HeldFiles
from imgfs.errors import Corrupt, quoted
from imgfs.tar.fields import BLOCK, padded
from imgfs.tar.member import NO_DATA, Member
from imgfs.tar.paths import MAX_PATH
from imgfs.tar.scanner import Scanner
from imgfs.tar.split.loose_files import LooseFiles
from imgfs.tar.split.recipe import FileExtent, Recipe
from imgfs.tar.tar_blob import TarBlob

logger = logging.getLogger("imgfs")

_CHUNK = 64 << 10
_SMALL = 128 << 10  # larger reads are made in threads, several at once


class Files(Protocol):
    """Reads the files that a recipe names. Safe to use from several threads."""

    def read(
        self, files: HeldFiles, extent: FileExtent, start: int, end: int, *, may_block: bool = True
    ) -> bytes:
        """As `LooseFiles.read`."""

    def hold(self, files: HeldFiles, extent: FileExtent, *, may_block: bool = True) -> Blob | None:
        """As `LooseFiles.hold`."""


class Split:
    """A parsed tar-split, and what is known so far of the tar it describes; errors name its layer by `name`.

    `files` reads its files; without it they are compared with their checksums. Safe to use from several threads.
    """

    def __init__(self, recipe: Recipe, name: str, files: Files | None = None) -> None:
        self.recipe = recipe
        self.files: Files = files or LooseFiles(name)
        self._name = name

    @cached_property
    def ending(self) -> int | None:
        """Where the end-of-archive region begins, None if there is none.

        The bytes after the last member's are literal, so no file is read.
        """
        recipe = self.recipe
        scanner = Scanner(padded(recipe.members_end))
        try:
            while scanner.ending is None and scanner.position < recipe.size:
                start = scanner.position
                scanner.feed(recipe.literals(start, min(start + _CHUNK, recipe.size)))
        except Corrupt as error:
            logger.warning("%s: its tar is damaged, its ending is shown unchanged: %s", self._name, error)
        return scanner.ending

    def members(self) -> Iterator[Member]:
        """Every member of the tar. Reads no file. Raises Corrupt where the tar is damaged."""
        scanner = Scanner()
        for start, end in self.recipe.runs():
            scanner.skip_to(start)
            if scanner.position < start:
                raise Corrupt(f"a header is due at offset {scanner.wanted}, inside of a file")
            while scanner.ending is None and scanner.position < end:
                place = scanner.position
                yield from scanner.feed(self.recipe.literals(place, min(place + _CHUNK, end)))
            if scanner.ending is not None:
                break
        scanner.finish()

    def members_in_place(self) -> Iterator[Member]:
        """Every member of a tar that cannot be assembled, each with its whole file; offsets are those in the split.

        The engines' library records a whole file in place of the bytes of a sparse member in the pax format: the file
        in the directory is right, but neither its parts nor the map before them are known. The padding of those
        follows. The data of a link whose header records a size is missing. Reads no file. Raises Corrupt where the tar
        is damaged.
        """
        due = 0
        nothing = (self.recipe.size, self.recipe.size)  # after the last run
        for (_, end), (after, _) in pairwise(chain(self.recipe.runs(), [nothing])):
            scanner, last = Scanner(due), None
            while scanner.ending is None and scanner.position < end:
                place = scanner.position
                for member in scanner.feed(self.recipe.literals(place, min(place + _CHUNK, end))):
                    if last is not None:
                        yield last
                    last = member
            size = after - end
            if not size:
                scanner.finish()
            else:
                last = scanner.begun or last
                if last is None or last.data_offset != end:
                    raise Corrupt(f"a header is due at offset {scanner.wanted}, inside of a file")
                due = after + _give_whole_file(last, size)
            if last is not None:
                yield last


def _give_whole_file(member: Member, size: int) -> int:
    """Give a member all `size` bytes of its file; returns how many bytes of padding follow."""
    padding = -member.stored_size % BLOCK
    if member.size != size and member.type not in NO_DATA:
        raise Corrupt(
            f"{quoted(member.name[:MAX_PATH])} has {size} bytes where its header says {member.size}"
        )
    if member.size != member.stored_size or member.sparse is not None:
        member.sparse, member.stored_size, member.is_adjusted = None, size, True
    return padding


class SplitTar(TarBlob):
    """One reader's view of a tar; `load` is called once, when the split is needed, and reads `stored`.

    Closing it closes `tree` and `stored`. `check` raises Corrupt if the split does not make the layer's tar; without
    it, any result is accepted, as for the offsets of `Split.members_in_place`.
    """

    def __init__(
        self,
        load: Callable[[], Split],
        tree: FileTree,
        known_size: int | None,
        check: Callable[[Split], None] = lambda split: None,
        stored: Blob | None = None,
    ) -> None:
        self._load = load
        self._stored = stored
        self._check = check
        self._checked = False
        self._files = HeldFiles(tree)
        self._known_size = known_size
        self._loaded: Split | None = None
        self._lock = Lock()

    @property
    def size(self) -> int:
        return self._whole().recipe.size

    @property
    def known_size(self) -> int | None:
        return self._loaded.recipe.size if self._loaded and self._checked else self._known_size

    def ending_before(self, limit: int) -> int | None:
        ending = self._whole().ending
        return ending if ending is not None and ending < limit else None

    def knows_ending_before(self, limit: int) -> bool:
        return self._checked

    def pread(self, size: int, offset: int) -> bytes:
        return self._read(self._whole(), size, offset, may_block=True)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        if self._loaded is None or size > _SMALL or not self._checked:
            return None
        try:
            return self._read(self._loaded, size, offset, may_block=False)
        except BlockingIOError:
            return None

    def _read(self, split: Split, size: int, offset: int, *, may_block: bool) -> bytes:
        read_file = partial(split.files.read, self._files, may_block=may_block)
        return split.recipe.read(size, offset, read_file)

    def hold(self, offset: int, size: int, *, may_block: bool = True) -> Blob | None:
        """Hold open the file of a member, whose data these bytes are."""
        if not may_block and (self._loaded is None or not self._checked):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        split = self._whole()
        extents = split.recipe.files(offset, offset + size)
        return split.files.hold(self._files, extents[0], may_block=may_block) if len(extents) == 1 else None

    def close(self) -> None:
        self._files.close()
        if self._stored is not None:
            self._stored.close()

    def _whole(self) -> Split:
        """The split, checked to make the layer's tar."""
        split = self._split()
        if not self._checked:
            self._check(split)
            self._checked = True
        return split

    def _split(self) -> Split:
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = self._load()
        return self._loaded
