"""Whether what is imported as a layer is plainly an archive of images, seen by how it begins.

Formats: what docker save, podman save and skopeo write, and the OCI image layout. Tried by the tests of `imgfs import`.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from imgfs.blob import MemoryBlob
from imgfs.codec import detect, open_forward
from imgfs.errors import Corrupt, InvalidImage
from imgfs.tar import Scanner

_ENOUGH = 64 << 10  # bytes of a tar
_MEMBER = re.compile(
    rb"blobs(/.*)?|(index|manifest)\.json|oci-layout|repositories|[0-9a-f]{64}(\.tar|\.json|/.*)?", re.DOTALL
)


def refuse_images(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The same chunks. Raises InvalidImage, which calls them `name`, if they begin an archive of images."""
    start = next(chunks, b"")
    names = list(_names(start))
    if names and all(map(_MEMBER.fullmatch, names)):
        what = "standard input" if name == "-" else name
        raise InvalidImage(f"{what}: an archive of images, which imgfs load takes")
    return chain([start], chunks)


def _names(start: bytes) -> Iterator[bytes]:
    """The names of the first members of a tar."""
    blob = MemoryBlob(start)
    with suppress(Corrupt):  # as it is cut off, or found so when all of it is read
        with open_forward(blob, detect(blob)) as tar:
            for member in Scanner().feed(tar.pread(_ENOUGH, 0)):
                yield member.name.removeprefix(b"./").rstrip(b"/")
