"""Kinds of sources: what stands behind a scheme, and how a bare path is recognised as one.

Tried by the tests of the table in `__init__`, and by those of bare paths.
"""

from collections.abc import Callable

import msgspec

from imgfs.blob import FileBlob, Root
from imgfs.layers import Indexer
from imgfs.sources.archive import ArchiveFiles, open_archive_files
from imgfs.sources.finder import Finder
from imgfs.sources.reference import split_tag
from imgfs.sources.source import Source


class DirectoryKind(msgspec.Struct, frozen=True):
    """Sources that are directories, written `SCHEME:REST`.

    `finder` makes the finder of REST, which is empty for the default place if there is one. `is_at` says whether a
    directory is such a source; it raises OSError if that cannot be told.
    """

    finder: Callable[[str], Finder]
    is_at: Callable[[Root], bool]

    def open(self, rest: str, indexer: Indexer) -> Source:
        """The source. Raises SourceNotFound, StoreError, InvalidImage or OSError."""
        return _open(self.finder(rest), indexer)


class ArchiveKind(msgspec.Struct, frozen=True):
    """Sources that are archives, written `SCHEME:FILE[:TAG]` and recognised by the member `index`.

    `finder` makes the finder of an archive, restricted to a tag if that is not None; it owns the archive.
    """

    finder: Callable[[ArchiveFiles, str | None], Finder]
    index: str

    def open(self, rest: str, indexer: Indexer) -> Source:
        """The source. Raises StoreError, Corrupt, InvalidImage or OSError."""
        path, tag = split_tag(rest)
        return self.open_files(open_archive_files(FileBlob(path), indexer), indexer, tag)

    def open_files(self, files: ArchiveFiles, indexer: Indexer, tag: str | None = None) -> Source:
        """The source in an archive that is open, which is closed if there is none."""
        return _open(self.finder(files, tag), indexer)


def _open(finder: Finder, indexer: Indexer) -> Source:
    try:
        return Source(finder, indexer)
    except BaseException:
        finder.close()
        raise
