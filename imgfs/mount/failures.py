"""Errors on their way to the kernel: an errno, and one line in the log for each that is worth one."""

import errno
import logging
from collections import OrderedDict

import pyfuse3

from imgfs.errors import ImgfsError, LayerNotFound, describe

logger = logging.getLogger("imgfs")

_REMEMBERED = 1000


class Failures:
    """Translates exceptions; the same failure is logged once, not at every read that meets it."""

    def __init__(self) -> None:
        self._logged: OrderedDict[str, None] = OrderedDict()

    def translate(self, error: Exception, name: str) -> pyfuse3.FUSEError:
        """What the kernel is told when `error` came up at the node called `name`."""
        if isinstance(error, (ImgfsError, OSError)):
            number, text = error.errno or errno.EIO, describe(error)
        else:
            number, text = errno.EIO, f"internal error: {error!r}"
            logger.debug("%s", name, exc_info=error)
        if isinstance(error, (LayerNotFound, FileNotFoundError)):
            number = errno.EIO  # the node is there; something that it is made of is not
        if number == errno.ENOSYS:
            number = errno.EIO  # told that, the kernel would never ask the like again
        line = f"{name}: {text}"
        if line not in self._logged:
            self._logged[line] = None
            if len(self._logged) > _REMEMBERED:
                self._logged.popitem(last=False)
            logger.warning("%s", line)
        return pyfuse3.FUSEError(number)
