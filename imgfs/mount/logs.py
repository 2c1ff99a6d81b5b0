"""Where messages go once nobody sits in front: a file, or syslog."""

import logging
import logging.handlers
import os

_SYSLOG = "/dev/log"


def log_to(path: str | None) -> None:
    """Also log to the file at `path`, or to syslog where there is one. Raises OSError."""
    handler: logging.Handler
    if path is not None:
        handler = logging.FileHandler(path)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    elif os.path.exists(_SYSLOG):
        handler = logging.handlers.SysLogHandler(_SYSLOG, logging.handlers.SysLogHandler.LOG_DAEMON)
        handler.setFormatter(logging.Formatter(f"imgfs[{os.getpid()}]: %(message)s"))
    else:
        return
    logging.getLogger().addHandler(handler)


def leave_stderr() -> None:
    """Stop logging to standard error."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
