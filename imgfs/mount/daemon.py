"""Going to the background, as mount helpers do: only once the file system can be used.

The process forks before it has threads. The child does all the work; the parent waits for one line from it, which
says that the file system is ready, or why it is not.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from imgfs.errors import ImgfsError, MountError, describe
from imgfs.logs import leave_stderr, log_to

logger = logging.getLogger("imgfs")

_READY = b"\0"


def background(start: Callable[[Callable[[], None]], None], log_file: str | None) -> None:
    """Run `start(ready)` in a child process, and return once it has called `ready`.

    Raises MountError with the child's message if it ends before that. The child never returns, and is stopped if this
    is interrupted.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(start, writing, log_file)
    os.close(writing)
    with open(reading, "rb") as pipe:
        try:
            message = pipe.read()
        except BaseException:  # as by Ctrl-C, which does not reach the child's session
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
            raise
    if message != _READY:
        raise MountError(message.decode(errors="replace") or "the background process died")


def _child(start: Callable[[Callable[[], None]], None], pipe: int, log_file: str | None) -> NoReturn:
    status = 1
    waiting = True

    def ready() -> None:
        nonlocal waiting
        os.write(pipe, _READY)  # raises BrokenPipeError if the parent is gone, which ends the child
        os.close(pipe)
        waiting = False
        leave_stderr()
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)

    try:
        os.setsid()
        log_to(log_file)
        start(ready)
        status = 0
    except BaseException as error:  # the child ends here in any case, and must say why
        text = describe(error) if isinstance(error, (ImgfsError, OSError)) else f"internal error: {error!r}"
        logger.debug("where it happened", exc_info=error)
        if waiting:
            with suppress(BrokenPipeError):
                os.write(pipe, text.encode(errors="replace"))
        else:
            logger.error("%s", text)
    finally:
        logging.shutdown()
        os._exit(status)
