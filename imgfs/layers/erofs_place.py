"""A layer that is kept as an EROFS image, in the form of overlayfs, as containerd's snapshotter erofs keeps it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from imgfs.blob import Blob, Root
from imgfs.blob.ranges import Ranges, RangesBlob
from imgfs.blob.stamp import FileStamp
from imgfs.erofs import ErofsImage, Inode
from imgfs.errors import StoreError, quoted
from imgfs.layers.directory_layer import Scan
from imgfs.layers.member_list import MemberPacker
from imgfs.layers.overlay_members import TRUSTED, LayerFile, overlay_members


@dataclass(frozen=True, slots=True)
class ErofsPlace:
    """The name of an image below `root`; a `Place`."""

    root: Root
    name: str

    def scan(self, *, is_bottom: bool) -> Scan:
        """As of `Place`. Raises Corrupt if the image is damaged, or has a form that imgfs does not read."""
        path = self.root.path_of(self.name)
        with self.root.open(self.name) as blob:
            stamp = blob.stamp()
            image = ErofsImage(blob, path)
            ranges, packer, seen = Ranges(), MemberPacker(blob.size), hashlib.sha256()
            for member, inode in overlay_members(
                _files(image), TRUSTED, lambda name: f"{path}: {quoted(name)}"
            ):
                member.offset = member.header_offset = ranges.size
                ranges.skip()  # so that no two members are in one place
                member.data_offset = ranges.size
                if member.size:
                    parts = image.extents(inode, member.name)
                    for part in parts:
                        ranges.add(part.address, part.length)
                    member.stored_size = ranges.size - member.data_offset
                    if member.stored_size != member.size:
                        member.sparse = [(part.offset, part.length) for part in parts]
                    seen.update(repr(parts).encode())
                seen.update(repr((member.name, member.type, member.size, inode.st_mtime_ns)).encode())
                packer.add([member])
        return Scan(packer.finish(), f"erofs {seen.hexdigest()}", partial(self._open, ranges, stamp))

    def _open(self, ranges: Ranges, stamp: FileStamp, name: str) -> Blob:
        blob = self.root.open(self.name)
        if blob.stamp() != stamp:
            blob.close()
            raise StoreError(f"{name}: {blob.path} has changed since it was read")
        return RangesBlob(blob, ranges)


def _files(image: ErofsImage) -> Iterator[LayerFile[Inode]]:
    for path, inode, xattrs, target in image.files():
        yield LayerFile(path, inode, xattrs, target)
