"""The files of an archive, by name, read in place; `Files` is what it has in common with a directory, a `Root`.

An archive may be compressed: then it is indexed when it is opened for the first time.

Nothing outside can be named: absolute names, `..` and symbolic links that lead out are refused.
"""

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from imgfs.blob import Blob, FileBlob, SharedBlob, Slice, SparseBlob
from imgfs.budget import MIB, Budget
from imgfs.codec import Compression, begins_tar, describe_unread, detect
from imgfs.errors import Corrupt, StoreError
from imgfs.layers import CompressedFile, Indexer
from imgfs.tar import Member, scan_blob

_MEMORY = 256 * MIB  # that the list of an archive's members may take, about
_MEMBER, _PART = 500, 150  # bytes that a member without its names takes, and a part of a sparse one
_MAX_NAME = 4096
_MAX_LINKS = 40  # as the kernel's limit on symbolic links in one path


class Files(Protocol):
    """Read-only files by relative name."""

    def open(self, name: str) -> Blob:
        """The file's bytes; the caller closes it. Raises FileNotFoundError, StoreError or OSError."""

    def exists(self, name: str) -> bool:
        """Whether anything has this name. Raises OSError."""

    def close(self) -> None:
        """Let go of what is held; blobs already open stay readable."""


class ArchiveFiles:
    """The files inside a tar, as ranges of it.

    Owns `archive`, and lists its `members` at construction; errors call it `path`. `writer` is the user who decides
    what is in it. Raises TooMuch, and what going through the members raises.
    """

    def __init__(
        self, archive: SharedBlob | CompressedFile, members: Iterable[Member], path: str, writer: int
    ) -> None:
        self.path = path
        self.writer = writer
        self._archive = archive
        try:
            self._members = self._listed(members)
        except BaseException:
            archive.close()
            raise

    def _listed(self, found: Iterable[Member]) -> Mapping[str, Member]:
        members = {}
        budget = Budget(self.path, _MEMORY)
        for member in found:
            budget.spend(_MEMBER + _PART * len(member.sparse or ()), "members")
            if len(member.name) > _MAX_NAME or len(member.linkname) > _MAX_NAME:
                continue  # no file system takes such a name, and no document of an image has it
            budget.spend(2 * len(member.name) + len(member.linkname), "names of members")
            member.uname = member.gname = b""
            member.xattrs = None
            # a later member of the same name replaces an earlier one, as when extracting
            members[_normal(os.fsdecode(member.name))] = member
        return members

    def exists(self, name: str) -> bool:
        """Whether there is a member of this name."""
        return _normal(name) in self._members

    def open(self, name: str) -> Blob:
        member = self._resolve(_normal(name))
        try:
            stored = Slice(self._archive.share(), member.data_offset, member.stored_size)
            return stored if member.sparse is None else SparseBlob(stored, member.sparse, member.size)
        except Corrupt as error:
            raise Corrupt(f"{self.path}: {name!r}: {error}") from None

    def close(self) -> None:
        self._archive.close()

    def _resolve(self, name: str) -> Member:
        seen = name
        for _ in range(_MAX_LINKS):
            member = self._members.get(seen)
            if member is None:
                raise FileNotFoundError(f"{self.path}: no member {name!r}")
            if member.is_file:
                return member
            if member.type not in (b"1", b"2"):
                raise StoreError(f"{self.path}: member {name!r} is not a regular file")
            target = os.fsdecode(member.linkname)
            seen = _normal(target if member.type == b"1" else posixpath.join(posixpath.dirname(seen), target))
        raise StoreError(f"{self.path}: too many links from member {name!r}")


def open_archive_files(file: FileBlob, indexer: Indexer) -> ArchiveFiles:
    """The files in an archive, compressed or not, which is closed if that fails.

    Raises Corrupt, TooMuch, StoreError or OSError, naming it.
    """
    try:
        compression = detect(file)
    except BaseException:
        file.close()
        raise
    if compression is Compression.PLAIN:
        return ArchiveFiles(SharedBlob(file), _scanned(file), file.path, file.writer)
    archive = CompressedFile(file, compression, indexer)
    return ArchiveFiles(archive, archive.members(), file.path, file.writer)


def _scanned(file: FileBlob) -> Iterator[Member]:
    """The members of a plain tar. Raises Corrupt, naming it."""
    try:
        if not file.size:
            raise Corrupt(describe_unread(file))
        yield from scan_blob(file)
    except Corrupt as error:
        why = str(error) if begins_tar(file) else describe_unread(file)
        raise Corrupt(f"{file.path}: {why}") from None


def _normal(name: str) -> str:
    """A member's name as it is looked up: no leading `/`, `./` or `../`, no doubled slashes."""
    return posixpath.normpath("/" + name).lstrip("/")
