"""Reading a file of the user's configuration, from where the user or the program's documentation says.

Tried by the tests of credentials and of registries.conf.
"""

import logging
import os
import stat

from imgfs.errors import StoreError

logger = logging.getLogger("imgfs")

_LARGEST = 8 << 20  # bytes


def read_user_file(path: str, *, is_required: bool) -> bytes | None:
    """What is in the file, None if there is none and none `is_required`. Raises StoreError naming it."""
    try:
        with open(path, "rb") as file:
            if stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
                raise IsADirectoryError
            data = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        if is_required:
            raise StoreError(f"{path}: there is no such file") from None
        return None
    except IsADirectoryError:
        raise StoreError(f"{path}: a directory, not a file") from None
    except OSError as error:
        if is_required or not is_out_of_reach(error, path):
            raise StoreError(f"{path}: {error.strerror}") from None
        return None
    if len(data) > _LARGEST:
        raise StoreError(f"{path}: too large for a file of configuration")
    return data


def is_out_of_reach(error: OSError, path: str) -> bool:
    """Whether a folder on the way to `path` is another user's, as /run/containers, or HOME after `su`, may be."""
    is_so = isinstance(error, PermissionError) and not os.path.lexists(path)
    if is_so:
        logger.info("%s is passed over: %s", path, error.strerror)
    return is_so
