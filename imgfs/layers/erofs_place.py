"""A layer that is kept as an EROFS image, in the form of overlayfs, as containerd's snapshotter erofs keeps it.

What mkfs.erofs makes of a layer's tar is shown, even where it differs from that (tried with 1.8.6): of a time it takes
a fraction of fewer than nine digits for that many nanoseconds, and directories that the tar has no member for have the
time at which the image was made, the root among them.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import msgspec

from imgfs.blob import Blob, Root, Slice
from imgfs.blob.ranges import Ranges, RangesBlob
from imgfs.blob.stamp import FileStamp
from imgfs.codec import begins_tar
from imgfs.erofs import ErofsImage, Inode
from imgfs.errors import StoreError, quoted
from imgfs.layers.directory_layer import Scan
from imgfs.layers.member_list import MemberPacker
from imgfs.layers.overlay_members import TRUSTED, LayerFile, overlay_members


class ErofsPlace(msgspec.Struct, frozen=True):
    """The name of an image below `root`; a `Place`."""

    root: Root
    name: str

    def scan(self, *, is_bottom: bool) -> Scan:
        """As of `Place`. Raises Corrupt if the image is damaged, or has a form that imgfs does not read."""
        path = self.root.path_of(self.name)
        with self.root.open(self.name) as blob:
            stamp = blob.stamp()
            image = ErofsImage(blob, path)
            ranges, packer, seen = Ranges(), MemberPacker(blob.size), hashlib.sha256(repr(stamp).encode())
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

    def open_tar(self) -> Blob:
        """The tar that the image is an index of, and that was appended to it.

        Its end may be missing, see `GenerateTarIndexAndAppendTar` of containerd. Raises Corrupt, or StoreError if there
        is none, or more behind it, as the hashes of dm-verity.
        """
        with ExitStack() as undo:
            blob = undo.enter_context(self.root.open(self.name))
            start = ErofsImage(blob, blob.path).appended
            tar = None if start is None else Slice(blob, start, blob.size - start)
            if tar is None or not begins_tar(tar) or self.root.exists(f"{self.name}.dmverity"):
                raise StoreError(f"{blob.path}: no tar behind the image")
            undo.pop_all()
            return tar

    def _open(self, ranges: Ranges, stamp: FileStamp, name: str) -> Blob:
        blob = self.root.open(self.name)
        if blob.stamp() != stamp:
            blob.close()
            raise StoreError(f"{name}: {blob.path} has changed since it was read")
        return RangesBlob(blob, ranges)


def _files(image: ErofsImage) -> Iterator[LayerFile[Inode]]:
    for path, inode, xattrs, target in image.files():
        yield LayerFile(path, inode, xattrs, target)
