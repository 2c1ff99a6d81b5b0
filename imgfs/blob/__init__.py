"""Bytes at an offset: the interface that every step of a read has."""

from imgfs.blob.blob import MAX_SIZE, Blob, MemoryBlob, Slice, blob_chunks
from imgfs.blob.checked import CheckedBlob, Checksums, checksums
from imgfs.blob.concatenation import Concatenation
from imgfs.blob.file import ANYONE, FileBlob
from imgfs.blob.folder import Folder
from imgfs.blob.late import LateBlob
from imgfs.blob.resolve import Links
from imgfs.blob.root import Root
from imgfs.blob.sparse import SparseBlob
from imgfs.blob.stream import BlobStream
from imgfs.blob.wrappers import HeldBlob, PaddedBlob, SharedBlob, WatchedBlob, WrappedBlob

__all__ = [
    "ANYONE",
    "MAX_SIZE",
    "Blob",
    "BlobStream",
    "CheckedBlob",
    "Checksums",
    "Concatenation",
    "FileBlob",
    "Folder",
    "HeldBlob",
    "LateBlob",
    "Links",
    "MemoryBlob",
    "PaddedBlob",
    "Root",
    "SharedBlob",
    "Slice",
    "SparseBlob",
    "WatchedBlob",
    "WrappedBlob",
    "blob_chunks",
    "checksums",
]
