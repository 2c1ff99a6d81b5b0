"""The files under a directory of a store, opened so that no name leads out of it, whatever symbolic links lie there.

The directory is held open: it is the same one after it was renamed or replaced. Names are resolved as if it were
the root directory, as the engine did that wrote the files.
"""

import errno
import os
import stat

from imgfs.blob.descriptor import Descriptor
from imgfs.blob.file import READ_FLAGS
from imgfs.blob.local import is_local
from imgfs.blob.resolve import Links, open_beneath, open_now
from imgfs.blob.root import Root
from imgfs.errors import StoreError

_FLAGS = READ_FLAGS | os.O_NOFOLLOW


class FileTree(Descriptor):
    """Regular files under the directory `name` of `root`, by names relative to it. Safe to use from several threads.

    Files already open stay readable after it is closed.

    Raises OSError or StoreError if that is no directory that can be opened.
    """

    def __init__(self, root: Root, name: str = "") -> None:
        self.path = root.path_of(name)
        self._fd = root.descriptor(name, os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY)
        self.is_local = is_local(self._fd)

    def open(self, name: bytes, *, may_block: bool = True) -> tuple[int, int]:
        """A descriptor of the file called `name`, which the caller closes, and its size in bytes now.

        Raises OSError, or StoreError if it is not a regular file. Unless it `may_block`, raises BlockingIOError where
        the disk would have to be waited for, or where that cannot be told, as on a file system that is not local.
        """
        if not (may_block or self.is_local):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        fd = (open_beneath if may_block else open_now)(self._fd, name, _FLAGS, Links.CHROOT)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise StoreError("not a regular file")
        return fd, status.st_size
