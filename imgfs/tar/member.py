"""One member of a tar, as its headers describe it.

Tried by the tests of the scanner.
"""

import stat

import msgspec

REGULAR, OLD_REGULAR, CONTIGUOUS, GNU_SPARSE = b"0", b"\0", b"7", b"S"
HARDLINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO = b"1", b"2", b"3", b"4", b"5", b"6"

FILES = frozenset((REGULAR, OLD_REGULAR, CONTIGUOUS, GNU_SPARSE))
"""The types that stand for a file with content."""
NO_DATA = frozenset((HARDLINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO))
"""The types whose headers are followed by no data, whatever size they record."""

TYPES = {
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFREG: REGULAR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER_DEVICE,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}
"""The type of a member by the type of the file that it is; a socket has none."""


class Member(msgspec.Struct, array_like=True, gc=False):
    """The place and the metadata of a member. Offsets and sizes in bytes, offsets from the start of the tar.

    `offset` is that of its first header, extensions included; its data has `stored_size` bytes at `data_offset`; `size`
    is the length of the file. The sizes differ for a sparse file: `sparse` then lists (offset, length) of the parts of
    the file that the data holds, in order; the rest is zeros. Names are bytes as they are in the tar. `is_adjusted` is
    whether its headers differ from this, with an owner, time or attribute that no file can have, or are read
    differently by different tar tools; `is_literal`, whether it is no whiteout though its name begins as that of one.
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
    is_literal: bool = False

    @property
    def is_file(self) -> bool:
        """Whether it stands for a file with content of its own."""
        return self.type in FILES


def member_of_file(
    kind: bytes,
    name: bytes,
    linkname: bytes,
    *,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime_ns: int,
    device: tuple[int, int],
    xattrs: dict[bytes, bytes] | None,
    is_adjusted: bool = False,
    is_literal: bool = False,
) -> Member:
    """The member that a tar would have for a file of this kind; it has no place in one yet.

    `device` is the major and the minor number, and owners have no names.
    """
    return Member(
        offset=0,
        header_offset=0,
        data_offset=0,
        stored_size=size,
        size=size,
        type=kind,
        name=name,
        linkname=linkname,
        mode=stat.S_IMODE(mode),
        uid=uid,
        gid=gid,
        uname=b"",
        gname=b"",
        mtime_ns=mtime_ns,
        devmajor=device[0],
        devminor=device[1],
        xattrs=xattrs,
        is_adjusted=is_adjusted,
        is_literal=is_literal,
    )
