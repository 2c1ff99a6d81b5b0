"""One member of a tar, as its headers describe it."""

import msgspec

REGULAR, OLD_REGULAR, CONTIGUOUS, GNU_SPARSE = b"0", b"\0", b"7", b"S"
HARDLINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO = b"1", b"2", b"3", b"4", b"5", b"6"

FILES = frozenset((REGULAR, OLD_REGULAR, CONTIGUOUS, GNU_SPARSE))
"""The types that stand for a file with content."""
NO_DATA = frozenset((HARDLINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO))
"""The types after whose headers no data follows, whatever size they say."""


class Member(msgspec.Struct, array_like=True, gc=False):
    """Where a member lies and what it is. Offsets and sizes in bytes, offsets from the start of the tar.

    `offset` is that of its first header, extensions included; `data_offset` and `stored_size` say where its data
    lies, `size` how long the file is. They differ for a sparse file: `sparse` then lists (offset, length) of
    the parts of the file that the data holds, in order; the rest is zeros. Names are bytes as they stand in the tar.
    `is_adjusted` says that its headers say what is not so, such as an owner, time or attribute that no file has, or
    what tar tools read in several ways.
    """

    offset: int
    header_offset: int
    data_offset: int
    stored_size: int
    size: int
    type: bytes
    name: bytes
    linkname: bytes
    mode: int
    uid: int
    gid: int
    uname: bytes
    gname: bytes
    mtime_ns: int
    devmajor: int
    devminor: int
    xattrs: dict[bytes, bytes] | None = None
    sparse: list[tuple[int, int]] | None = None
    is_adjusted: bool = False

    @property
    def is_file(self) -> bool:
        """Whether it stands for a file with content of its own."""
        return self.type in FILES
