"""Where messages go: to standard error, and once nobody sits in front, to a file or syslog.

Messages name what is in images, and that may be anything; each stays one line that steers no terminal.
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
    """Log what is at least that grave to standard error."""
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
