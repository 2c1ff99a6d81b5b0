"""Trying again what a registry did not send.

Tried by the tests of the client.
"""

import time

from imgfs.registry.transport import Limits, RegistryError, Unreachable

_TRIES = 4
_PROGRESS = 256 << 10  # bytes


class OddResponse(RegistryError):
    """A response that is not what was asked for, which another try may mend."""


class Tries:
    """The tries of fetching bytes from `position` on, of which a few in a row may fail.

    With `resumes`, each goes on where the one before broke off, so one that got far does not count as a failure.
    Otherwise that gives the others time, but no more of them follow.
    """

    def __init__(self, limits: Limits, position: int = 0, *, resumes: bool = False) -> None:
        self._limits = limits
        self._resumes = resumes
        self._failures = 0
        self._begun, self._begun_at = time.monotonic(), position

    def wait_after(self, error: RegistryError, position: int) -> None:
        """Wait after a try that failed at a position; raises `error` if there is to be no other."""
        if position - self._begun_at >= _PROGRESS:  # over a slow line that breaks now and then
            self._begun, self._begun_at = time.monotonic(), position
            if self._resumes:
                self._failures = 0
        self._failures += 1
        is_over = self._failures >= _TRIES or time.monotonic() - self._begun > self._limits.patience
        if is_over or not isinstance(error, Unreachable | OddResponse):
            raise error
        time.sleep(self._limits.pause * 2**self._failures)
