"""Threads for what may block: so many for each source, so that one that hangs stops no work on another.

Waiting for a size may take as long as decoding a layer does, and has threads of its own: it takes none from reading.
"""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

from imgfs.errors import as_exhausted
from imgfs.mount.failures import Failures
from imgfs.view import Node, NodeTable, Origin

_THREADS, _WAITING_THREADS = 64, 256  # of one source

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class Workers:
    """Runs functions in threads; what they raise is translated by `failures`. The event loop alone uses it."""

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._limiters: dict[tuple[tuple[Origin, ...], bool], trio.CapacityLimiter] = {}

    async def run(
        self,
        at: Node | NodeTable,
        work: Callable[[*Arguments], T],
        *arguments: *Arguments,
        waits: bool = False,
    ) -> T:
        """What `work` returns for the arguments, run by a thread of the source of `at`, or one for those that wait.

        At the end of the mount it is left to itself. Raises FUSEError.
        """
        try:
            return await trio.to_thread.run_sync(
                work, *arguments, abandon_on_cancel=True, limiter=self._limiter(at.origins, waits)
            )
        except RuntimeError as error:
            raise self._failures.translate(as_exhausted(error), at) from None
        except Exception as error:
            raise self._failures.translate(error, at) from None

    def _limiter(self, origins: tuple[Origin, ...], waits: bool) -> trio.CapacityLimiter:
        limiter = self._limiters.get((origins, waits))
        if limiter is None:
            most = _WAITING_THREADS if waits else _THREADS
            limiter = self._limiters[origins, waits] = trio.CapacityLimiter(most)
        return limiter
