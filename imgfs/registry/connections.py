"""Connections on which a whole request ends in time, and not only each of its reads.

The timeout of a socket begins again with each byte, so one byte every few seconds would hold a reader for ever. Here no
operation of a socket takes longer than what is left of the time limit that its thread is under: connecting, a proxy's
response, the TLS handshake, headers and body. Only the look-up of names is not limited here, but by resolv.conf(5).
"""

import math
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

_ends: ContextVar[float] = ContextVar("imgfs_registry_ends", default=math.inf)
_SHORTEST = 2.0  # seconds for one of several addresses


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """What this thread does with connections meanwhile raises TimeoutError after `seconds`, or an outer limit's end."""
    token = _ends.set(min(_ends.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _ends.reset(token)


def time_left() -> float:
    """Seconds until the time limit of this thread ends; infinity if there is none."""
    return _ends.get() - time.monotonic()


class _TimedSocket(socket.socket):
    """A socket whose operations end with the time limit of the thread that calls them."""

    _usual: float | None = None  # timeout where there is no limit, or a later one

    def settimeout(self, value: float | None) -> None:
        self._usual = value
        super().settimeout(value)

    def connect(self, address: Any) -> None:
        self._limit()
        super().connect(address)

    def recv(self, *arguments: Any) -> bytes:
        self._limit()
        return super().recv(*arguments)

    def recv_into(self, *arguments: Any) -> int:
        self._limit()
        return super().recv_into(*arguments)

    def send(self, *arguments: Any) -> int:
        self._limit()
        return super().send(*arguments)

    def sendall(self, *arguments: Any) -> None:
        self._limit()
        super().sendall(*arguments)

    def _limit(self) -> None:
        left = time_left()
        if left <= 0:
            raise TimeoutError("timed out")
        wanted = left if self._usual is None or left < self._usual else self._usual
        if math.isfinite(wanted) and wanted != self.gettimeout():
            super().settimeout(wanted)


class _TimedTLSSocket(_TimedSocket, ssl.SSLSocket):
    """The same with TLS."""

    def do_handshake(self, block: bool = False) -> None:
        self._limit()
        super().do_handshake(block)


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """A connection to the first address that takes one; each is given its part of the time, as in Go's Dialer."""
        timeout = _SHORTEST if self.timeout is None else self.timeout
        ends = time.monotonic() + timeout
        try:
            addresses = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        failure: OSError | None = None
        for number, (family, kind, protocol, _, address) in enumerate(addresses):
            left = ends - time.monotonic()
            if left <= 0:
                break
            sock = _TimedSocket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(min(left, max(_SHORTEST, left / (len(addresses) - number))))
                sock.connect(address)
                sock.settimeout(timeout)
                return sock
            except OSError as error:
                sock.close()
                failure = error
        raise NewConnectionError(self, "no connection") from failure


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


def with_time_limits(manager: PoolManager, *contexts: ssl.SSLContext | None) -> PoolManager:
    """`manager`, whose connections keep to time limits from now on, with TLS of `contexts` on them, too."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
    for context in contexts:
        if context is not None:
            context.sslsocket_class = _TimedTLSSocket
    return manager
