"""Bytes at an offset: the one call that every hop of a read is."""

from imgfs.blob.blob import MAX_SIZE, Blob
from imgfs.blob.checked import CheckedBlob, Checksums, checksums
from imgfs.blob.chunks import blob_chunks
from imgfs.blob.concatenation import Concatenation
from imgfs.blob.file import FileBlob
from imgfs.blob.folder import Folder
from imgfs.blob.memory import MemoryBlob
from imgfs.blob.resolve import Links
from imgfs.blob.root import Root
from imgfs.blob.shared import SharedBlob
from imgfs.blob.slice import Slice
from imgfs.blob.sparse import SparseBlob
from imgfs.blob.stream import BlobStream
from imgfs.blob.watched import WatchedBlob

__all__ = [
    "MAX_SIZE",
    "Blob",
    "BlobStream",
    "CheckedBlob",
    "Checksums",
    "Concatenation",
    "FileBlob",
    "Folder",
    "Links",
    "MemoryBlob",
    "Root",
    "SharedBlob",
    "Slice",
    "SparseBlob",
    "WatchedBlob",
    "blob_chunks",
    "checksums",
]
