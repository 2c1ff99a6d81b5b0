"""File systems: EROFS images, all of whose files are read."""

import stat

from imgfs.blob import MemoryBlob
from imgfs.erofs import ErofsImage
from tests.erofs.built import sound
from tests.fuzz.target import Target


def _erofs(data: bytes) -> None:
    blob = MemoryBlob(data)
    image = ErofsImage(blob, "fuzz")
    for path, inode, _, _ in image.files():
        assert b"\0" not in path
        if stat.S_ISREG(inode.st_mode):
            end = 0
            for offset, address, length in image.extents(inode, path):
                assert offset >= end
                assert address + length <= len(data)
                end = offset + length
            assert end <= inode.st_size


TARGETS = [Target("erofs", _erofs, [sound()])]
