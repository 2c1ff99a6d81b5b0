"""Where log messages go: to standard error, and in the background to a file or syslog.

Messages contain names from images, which may be anything; each is made one line that cannot steer a terminal.
"""

import logging
import os

from imgfs.errors import printable

logger = logging.getLogger("imgfs")

_SYSLOG = "/dev/log"
_MOST = 20  # warnings of one kind that are logged one by one


class _Lines(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name for it
        return printable(super().formatMessage(record))


def log_to_stderr(level: int) -> None:
    """Log messages of at least this level to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("imgfs: %(message)s"))
    logging.basicConfig(handlers=[handler], level=level)


def log_to(path: str | None) -> None:
    """Also log to the file at `path`, or to syslog where there is one. Raises OSError."""
    handler: logging.Handler
    if path is not None:
        handler = logging.FileHandler(path, encoding="utf-8")
        handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(message)s"))
    elif os.path.exists(_SYSLOG):
        from logging.handlers import SysLogHandler  # here, as only mounts in the background log there

        handler = SysLogHandler(_SYSLOG, SysLogHandler.LOG_DAEMON)
        handler.setFormatter(_Lines(f"imgfs[{os.getpid()}]: %(message)s"))
    else:
        return
    logging.getLogger().addHandler(handler)


def leave_stderr() -> None:
    """Stop logging to standard error."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)


class SkipLog:
    """Logs what of the thing called `name` is skipped: a warning each, and how many there were beyond 20.

    `what` is a plural, for those.
    """

    def __init__(self, name: str, what: str) -> None:
        self._name = name
        self._what = what
        self._count = 0

    def report(self, problem: str) -> None:
        """Log a problem, unless there were too many before."""
        self._count += 1
        if self._count <= _MOST:
            logger.warning("%s: %s", self._name, problem)

    def finish(self) -> None:
        """Log how many were not logged."""
        if self._count > _MOST:
            logger.warning("%s: %d more %s are skipped", self._name, self._count - _MOST, self._what)
