"""Errors on their way to the kernel: an errno, and one line in the log for each that is worth one."""

import errno
import logging
from collections import OrderedDict

import pyfuse3

from imgfs.errors import ImgfsError, LayerNotFound, describe, is_lost, is_shortage
from imgfs.view import Node, NodeTable

logger = logging.getLogger("imgfs")

_REMEMBERED = 1000


class Failures:
    """Translates exceptions; the same failure is logged once, not at every read that meets it."""

    def __init__(self) -> None:
        self._logged: OrderedDict[str, None] = OrderedDict()

    def translate(self, error: Exception, at: Node | NodeTable | str) -> pyfuse3.FUSEError:
        """What the kernel is told when `error` came up at a node, or where there is none in what is named."""
        name = at if isinstance(at, str) else at.label
        if isinstance(error, (ImgfsError, OSError)):
            number, text = error.errno or errno.EIO, describe(error)
        elif is_shortage(error):
            number, text = errno.EIO, describe(error)
        else:
            number, text = errno.EIO, f"internal error: {error!r}"
            logger.debug("%s", name, exc_info=error)
        if isinstance(error, (LayerNotFound, FileNotFoundError)) or number == errno.ENOSYS:
            number = errno.EIO  # the node is there; something that it is made of is not
        if is_lost(error):
            number = errno.EIO  # else it would seem to be said of the mount
            if not isinstance(at, str) and len(at.origins) == 1:
                at.origins[0].report_lost(text)
                return pyfuse3.FUSEError(number)
        line = f"{name}: {text}"
        if line not in self._logged:
            self._logged[line] = None
            if len(self._logged) > _REMEMBERED:
                self._logged.popitem(last=False)
            logger.warning("%s", line)
        return pyfuse3.FUSEError(number)
