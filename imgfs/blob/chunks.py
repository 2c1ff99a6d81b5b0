"""A whole blob in order, for whoever hashes or copies it."""

from collections.abc import Iterator

from imgfs.blob.blob import Blob


def blob_chunks(blob: Blob, size: int = 1 << 20) -> Iterator[bytes]:
    """All bytes of a blob, `size` at a time; it is not closed. Raises what `pread` raises."""
    offset = 0
    while chunk := blob.pread(size, offset):
        yield chunk
        offset += len(chunk)
