"""Reporting to the service manager. Format: sd_notify(3).

Tried by the tests of `imgfs mount`.
"""

import logging
import os
import socket

logger = logging.getLogger("imgfs")


def notify(*lines: str) -> None:
    """Send lines such as `READY=1` to the service manager, if there is one that expects them."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            sender.send("\n".join(lines).encode("utf-8", "replace"))
    except OSError as error:
        logger.warning("NOTIFY_SOCKET: %s", error.strerror)
