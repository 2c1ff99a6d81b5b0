"""Every error imgfs raises on purpose, each with the errno that a system call on its cause returns.

    ImgfsError (EIO)
    ├── InvalidDigest (EINVAL)        a string that is no digest
    ├── InvalidImage (EINVAL)         a config, manifest or archive that does not parse or is refused
    │   └── TooMuch                   input that takes more memory than its budget, see `budget`
    ├── NotFound (ENOENT)
    │   ├── ImageNotFound             "No such image: TERM"
    │   ├── LayerNotFound             no layer with that chain ID
    │   └── MetadataNotFound          "failed to read metadata …"
    ├── AmbiguousID (ENOENT)          a prefix that several images share
    ├── AmbiguousName (ENOENT)        a name that is of another image in another store
    ├── Corrupt (EIO)                 bytes that do not match their digest or format
    ├── StoreError (EIO)              a store, source or cache that cannot be read or written
    │   ├── FileChanged               a file that another program has changed since its size was read
    │   └── SourceNotFound (ENOENT)   a place where there is no source of that kind
    ├── InvalidRules (EINVAL)         rules for `imgfs check` that do not parse
    ├── InUse (EBUSY)                 an image that others are based on, a database that keeps changing
    └── MountError (EIO)              the file system cannot be mounted or unmounted
        └── InvalidOption             an option of the mount that does not exist, or cannot have that value

The message always names the thing: a digest, a path, a member. Errors become an errno in `mount.workers`
and an exit code in `cli.main`, nowhere else.
"""

import copy
import errno
import os
from typing import NoReturn


class ImgfsError(Exception):
    """Base of all errors raised on purpose; `errno` is what a system call on its cause returns."""

    errno: int = errno.EIO


class InvalidDigest(ImgfsError):
    errno = errno.EINVAL


class InvalidImage(ImgfsError):
    errno = errno.EINVAL


class TooMuch(InvalidImage):
    pass


class NotFound(ImgfsError):
    errno = errno.ENOENT


class ImageNotFound(NotFound):
    """No image matches a term; worded as by docker."""

    def __init__(self, term: str) -> None:
        super().__init__(f"No such image: {term}")


class LayerNotFound(NotFound):
    pass


class MetadataNotFound(NotFound):
    pass


class AmbiguousID(ImgfsError):
    """Several images share a prefix."""

    errno = errno.ENOENT

    def __init__(self, term: str) -> None:
        super().__init__(f"multiple IDs found with provided prefix: {term}")


class AmbiguousName(ImgfsError):
    errno = errno.ENOENT


class Corrupt(ImgfsError):
    pass


class StoreError(ImgfsError):
    pass


class FileChanged(StoreError):
    """A file is shorter than it was, another one, or gone; `data` is what it has by now of the bytes that were read."""

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(message)
        self.data = data


class SourceNotFound(StoreError):
    errno = errno.ENOENT


class InvalidRules(ImgfsError):
    errno = errno.EINVAL


class InUse(ImgfsError):
    errno = errno.EBUSY


class MountError(ImgfsError):
    pass


class InvalidOption(MountError):
    pass


_EXHAUSTED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def raise_again(error: BaseException) -> NoReturn:
    """Raise what another thread has met: one of its own for each thread, as raising adds a traceback to it."""
    raise copy.copy(error) from error


def is_exhausted(error: Exception) -> bool:
    """Whether the machine is the cause rather than what was read, so that reading something else would fail, too."""
    causes = (error, error.__cause__)
    return any(isinstance(cause, OSError) and cause.errno in _EXHAUSTED for cause in causes)


def as_exhausted(error: RuntimeError) -> Exception:
    """The error that Python raises when the system has no more threads, as OSError EAGAIN; any other is unchanged."""
    return OSError(errno.EAGAIN, str(error)) if "start new thread" in str(error) else error


_LOST = (errno.ENOTCONN, errno.ECONNABORTED, errno.ESTALE, errno.EHOSTDOWN, errno.ENODEV, errno.ENXIO)


def is_lost(error: BaseException | None) -> bool:
    """Whether the file system or the device that was read is gone, so that all else there fails as well."""
    while error is not None and not (isinstance(error, OSError) and error.errno in _LOST):
        error = error.__cause__
    return error is not None


def is_shortage(error: BaseException) -> bool:
    """Whether the system had no memory or no thread left, whatever was being read."""
    no_thread = isinstance(error, RuntimeError) and "start new thread" in str(error)
    return no_thread or isinstance(error, MemoryError)


def describe(error: Exception) -> str:
    """An error in one line, for messages: that of the operating system with its file, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return (
            error.strerror if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"
        )
    if is_shortage(error):
        return "not enough memory" if isinstance(error, MemoryError) else "not enough threads"
    return str(error)


def printable(text: str) -> str:
    """Text from an image on one line, with escapes for anything that could control a terminal or is not text."""
    if text.isprintable():  # nearly always, and much faster
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def quoted(data: bytes) -> str:
    """Bytes from an image, such as a name, in quotes and as `printable` shows text."""
    return f"'{printable(data.decode(errors='backslashreplace'))}'"
