"""Which file systems are local: no call on one waits for a server or for another process.

Values of `f_type`: statfs(2) and linux/magic.h. What is not known to be local is taken not to be.
"""

import ctypes

_LOCAL = {
    0xEF53,  # ext2, ext3, ext4
    0x58465342,  # XFS
    0x9123683E,  # Btrfs
    0xF2F52010,  # F2FS
    0x01021994,  # tmpfs
}
_ROOM = 256  # bytes, more than any struct statfs has

_fstatfs = ctypes.CDLL(None, use_errno=True).fstatfs
_fstatfs.argtypes = (ctypes.c_int, ctypes.c_char_p)


def is_local(fd: int) -> bool:
    """Whether an open file or directory lies on a local file system."""
    status = ctypes.create_string_buffer(_ROOM)
    if _fstatfs(fd, status):
        return False
    return ctypes.c_long.from_buffer(status).value in _LOCAL
