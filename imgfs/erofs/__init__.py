"""File systems in EROFS, the read-only format of Linux: what is in an image, and where its content lies.

Format: Linux, Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h. Read is all that is not compressed. Knows
nothing of layers.
"""

from imgfs.erofs.image import ErofsFile, ErofsImage
from imgfs.erofs.inode import Inode

__all__ = ["ErofsFile", "ErofsImage", "Inode"]
