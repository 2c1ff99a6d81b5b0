"""What a tree cannot have is logged a line each, and counted once there are many."""

import logging

logger = logging.getLogger("imgfs")

_MOST = 20  # logged one by one


class LeftOut:
    """Logs what is left out of the tree called `name`; `what` is a plural for the rest."""

    def __init__(self, name: str, what: str) -> None:
        self._name = name
        self._what = what
        self._count = 0

    def report(self, problem: str) -> None:
        """Log a problem, unless there were many before."""
        self._count += 1
        if self._count <= _MOST:
            logger.warning("%s: %s", self._name, problem)

    def finish(self) -> None:
        """Log how many were not logged."""
        if self._count > _MOST:
            logger.warning("%s: %d more %s are left out", self._name, self._count - _MOST, self._what)
