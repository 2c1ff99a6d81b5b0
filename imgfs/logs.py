"""Where log messages go: to standard error, and in the background to a file or syslog.

Messages contain names from images, which may be anything; each is made one line that cannot steer a terminal.
"""

import logging
import logging.handlers
import os

from imgfs.errors import printable

_SYSLOG = "/dev/log"


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
        handler = logging.handlers.SysLogHandler(_SYSLOG, logging.handlers.SysLogHandler.LOG_DAEMON)
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
