"""Files of a tree of which some are held open, so that they stay readable when they are removed.

A file that is held is open once, for all who hold or read it.
"""

import errno
import resource
from threading import Lock
from weakref import WeakValueDictionary

from imgfs.blob.blob import Blob
from imgfs.blob.file_tree import FileTree
from imgfs.blob.wrappers import SharedBlob

_SPARE = 256  # descriptors for all else


class HeldFiles:
    """The files of `tree`, which it closes. Safe to use from several threads.

    Methods raise as `FileTree.open` does.
    """

    def __init__(self, tree: FileTree) -> None:
        self.tree = tree
        self._lock = Lock()
        self._held: WeakValueDictionary[bytes, SharedBlob] = WeakValueDictionary()

    def open(self, name: bytes, *, may_block: bool = True) -> Blob:
        """The file called `name`; the caller closes it."""
        return self._share(name) or self.tree.open(name, may_block=may_block)

    def hold(self, name: bytes, *, may_block: bool = True) -> Blob | None:
        """The file called `name`, which `open` returns until the caller closes it, even if it is removed.

        None if too many files are open.
        """
        share = self._share(name)
        if share is not None:
            return share
        try:
            file = self.tree.open(name, may_block=may_block)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                return None
            raise
        # the kernel gives the lowest number that is free
        if file.fileno() + _SPARE > resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
            file.close()
            return None
        with self._lock:
            shared = self._held[name] = SharedBlob(file)
            share = shared.share()
        shared.close()  # the owner's part: it stays open as long as it is held
        return share

    def close(self) -> None:
        """Close the directory; files that are held stay readable."""
        self.tree.close()

    def _share(self, name: bytes) -> Blob | None:
        with self._lock:
            shared = self._held.get(name)
            return None if shared is None else shared.try_share()
