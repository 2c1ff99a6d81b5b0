"""Running the work of a request, in place or in a thread, and turning what it raises into an errno.

Each source has a limited number of threads of its own, so that one that hangs stops no work on another. Waiting for a
size may take as long as decoding a layer, and has threads of its own too: it takes none from reading.
"""

import errno
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import pyfuse3
import trio

from imgfs.errors import ImgfsError, LayerNotFound, as_exhausted, describe, is_lost, is_shortage
from imgfs.view import Node, NodeTable, Origin

logger = logging.getLogger("imgfs")

_THREADS, _WAITING_THREADS = 64, 256  # of one source
_REMEMBERED = 1000  # lines

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class Workers:
    """Runs functions for nodes; raises FUSEError for whatever they raise. Only the event loop uses it."""

    def __init__(self) -> None:
        self.failures = Failures()
        self._limiters: dict[tuple[tuple[Origin, ...], bool], trio.CapacityLimiter] = {}

    def run_in_place(
        self, at: Node | NodeTable, work: Callable[[*Arguments], T], *arguments: *Arguments
    ) -> T:
        """What `work` returns; it must not block."""
        try:
            return work(*arguments)
        except Exception as error:
            raise self.failures.translate(error, at) from None

    async def run(
        self,
        at: Node | NodeTable,
        work: Callable[[*Arguments], T],
        *arguments: *Arguments,
        waits: bool = False,
    ) -> T:
        """What `work` returns, run by a thread of the source of `at`, with `waits` by one of those that may wait.

        When the mount ends, the thread is abandoned.
        """
        try:
            return await trio.to_thread.run_sync(
                work, *arguments, abandon_on_cancel=True, limiter=self._limiter(at.origins, waits)
            )
        except RuntimeError as error:
            raise self.failures.translate(as_exhausted(error), at) from None
        except Exception as error:
            raise self.failures.translate(error, at) from None

    def _limiter(self, origins: tuple[Origin, ...], waits: bool) -> trio.CapacityLimiter:
        limiter = self._limiters.get((origins, waits))
        if limiter is None:
            most = _WAITING_THREADS if waits else _THREADS
            limiter = self._limiters[origins, waits] = trio.CapacityLimiter(most)
        return limiter


class Failures:
    """Translates exceptions, and logs each failure once, not at every read that meets it."""

    def __init__(self) -> None:
        self._logged: OrderedDict[str, None] = OrderedDict()

    def translate(self, error: Exception, at: Node | NodeTable | str) -> pyfuse3.FUSEError:
        """The error for the kernel when `error` was raised for a node, or for a request of the name given."""
        name = at if isinstance(at, str) else at.label
        if isinstance(error, (ImgfsError, OSError)):
            number, text = error.errno or errno.EIO, describe(error)
        elif is_shortage(error):
            number, text = errno.EIO, describe(error)
        else:
            number, text = errno.EIO, f"internal error: {error!r}"
            logger.debug("%s", name, exc_info=error)
        if isinstance(error, (LayerNotFound, FileNotFoundError)) or number == errno.ENOSYS:
            number = errno.EIO  # the node exists; something that it is made of does not
        if isinstance(error.__cause__, PermissionError):
            number = errno.EACCES  # the user who mounted may not read it where it is stored
        if is_lost(error):
            number = errno.EIO  # programs would take the original for an error of the mount itself
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
