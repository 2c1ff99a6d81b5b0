"""One HTTP request and its response, over connections that are kept: timeouts, proxies, TLS. Nothing is tried twice.

Redirects, credentials and retries are decided above, in `session`. Connections are made at the first request, so that a
process that goes to the background before shares none.
Tried by the tests of the client.
"""

import io
import logging
import ssl
import time
import warnings
from collections.abc import Iterator, Mapping
from threading import Lock
from urllib.parse import unquote, urljoin, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning, ProxyError, ReadTimeoutError, SSLError

from imgfs.blob import Blob, BlobStream, MemoryBlob
from imgfs.errors import StoreError
from imgfs.registry.configuration import Configuration, Endpoint
from imgfs.registry.connections import time_limit, with_time_limits
from imgfs.registry.stats import Stats
from imgfs.registry.tls import tls_context
from imgfs.version import __version__

logger = logging.getLogger("imgfs")

_PIECE = 256 << 10  # bytes that are taken from a connection at a time
_LARGEST_ERROR = 64 << 10  # bytes of a response that says what is wrong
_LARGEST_DOCUMENT = 16 << 20


class Limits(msgspec.Struct, frozen=True):
    """How long a registry may take, in seconds, and how often it is tried.

    `connect` is for a connection, and `idle` then for the headers of a response. Before a request is sent again there
    is a `pause`, twice as long each time; all of them take no longer than `wait`. After `patience` there must be the
    headers of the last response, whatever was tried again or asked for before. A body may take as long as it likes if
    in any `idle` seconds that are waited for it `slowest` bytes a second come, or its rest: a large range over a slow
    line is read to its end, and a few bytes now and then hold no reader.
    """

    connect: float = 10
    idle: float = 30
    pause: float = 0.25
    wait: float = 30
    patience: float = 60
    attempts: int = 5
    slowest: int = 16 << 10

    def sending(self, body: bytes | Blob | None) -> float:
        """The longest that sending a body may take."""
        return 0 if body is None else (len(body) if isinstance(body, bytes) else body.size) / self.slowest


class RegistryError(StoreError):
    """What a registry was asked for was not given; `status` is that of HTTP, 0 where there was no response."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(RegistryError):
    """There was no response, or not all of it; `is_tls` if that is because there is no trusted certificate."""

    def __init__(self, message: str, *, is_tls: bool = False) -> None:
        super().__init__(message)
        self.is_tls = is_tls


class Response:
    """A response whose body is still to be read. The caller reads it to its end, or closes it."""

    def __init__(
        self, raw: urllib3.BaseHTTPResponse, url: str, host: str, transport: "Transport", blob: str | None
    ) -> None:
        self._raw = raw
        self._transport = transport
        self._host = host
        self._blob = blob
        self.url = url
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers

    def header_lines(self, name: str) -> list[str]:
        """Every line of a header."""
        return list(self._raw.headers.getlist(name))

    @property
    def length(self) -> int | None:
        """The size of the body in bytes as the response states it, None where it does not."""
        if "Transfer-Encoding" in self.headers:  # which counts then. RFC 9112, section 6.3
            return None
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def chunks(self, most: int) -> Iterator[bytes]:
        """The body, no more than `most` bytes of it. Raises Unreachable where it breaks off or is too slow."""
        limits = self._transport.limits
        left, due, waited = most, 0.0, 0.0
        try:
            while left > 0:
                if due <= 0:
                    due, waited = limits.slowest * limits.idle, 0.0
                started = time.monotonic()  # what the caller does meanwhile is not the registry's
                with time_limit(limits.idle - waited):
                    chunk = self._raw.read1(min(_PIECE, left), decode_content=False)
                waited += time.monotonic() - started
                if not chunk:
                    self._raw.release_conn()
                    return
                self._transport.stats.count(self._host, "bytes", len(chunk), self._blob)
                left -= len(chunk)
                due -= len(chunk)
                yield chunk
        except (HTTPError, OSError, ValueError) as error:
            is_slow = 0 < due < limits.slowest * limits.idle and isinstance(error, ReadTimeoutError)
            raise Unreachable(
                "too slow: it sends less than it has to in time" if is_slow else _why(error)
            ) from None
        finally:
            if left <= 0 or self._raw.connection is not None:
                self.close(is_whole=left <= 0 and self.length == most)

    def read(self, most: int = _LARGEST_DOCUMENT) -> bytes:
        """The whole body. Raises RegistryError if it has more than `most` bytes, Unreachable."""
        if (self.length or 0) > most:
            self.close()
            raise RegistryError(f"{self.length} bytes are too many", self.status)
        data = b"".join(self.chunks(most + 1))
        if len(data) > most:
            raise RegistryError(f"more than {most} bytes are too many", self.status)
        return data

    def error_body(self) -> bytes:
        """What a response that is no success says; empty where that is not readable at once."""
        # distribution 2.8.2 states the size of the whole blob here, and sends a few bytes
        if self.length is None or self.length > _LARGEST_ERROR:
            self.close()
            return b""
        try:
            return self.read(_LARGEST_ERROR)
        except RegistryError:
            return b""

    def close(self, *, is_whole: bool = False) -> None:
        """Drop the rest of the body, with the connection unless all of it was read."""
        if is_whole:
            self._raw.drain_conn()  # of nothing, as after HEAD, so that the connection is free
            self._raw.release_conn()
        else:
            self._raw.close()


class Transport:
    """Sends requests. Safe to use from several threads."""

    def __init__(self, configuration: Configuration, stats: Stats, limits: Limits) -> None:
        self.configuration = configuration
        self.stats = stats
        self.limits = limits
        self._lock = Lock()
        self._pools: dict[tuple[str, bool], urllib3.PoolManager] = {}

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Blob | None = None,
        *,
        is_insecure: bool = False,
        blob: str | None = None,
        patience: float = 0,
    ) -> Response:
        """Send one request and return the response, its body unread. Raises Unreachable where there is none.

        TLS certificates are not verified if the other side `is_insecure`; the blob with the digest `blob` is what is
        asked for, for the counts. The response may be `patience` seconds later than others.
        """
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]  # what stands before may be a password
        data = MemoryBlob(body) if isinstance(body, bytes) else body
        shown = f"{method} {parts.scheme}://{host}{parts.path}"  # what stands behind may be a secret
        pool = self._pool(host, url, is_insecure=is_insecure)
        started = time.monotonic()
        self.stats.count(host, "requests", 1, blob)
        limits = self.limits
        try:
            with time_limit(limits.connect + limits.sending(data) + limits.idle + patience):
                raw = pool.urlopen(
                    method,
                    url,
                    # sent in pieces, as the limit of time is for each
                    body=None if data is None else io.BufferedReader(BlobStream(data), _PIECE),
                    headers={"User-Agent": f"imgfs/{__version__}", "Accept-Encoding": "identity"}
                    | ({} if data is None else {"Content-Length": str(data.size)})
                    | dict(headers),
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=urllib3.Timeout(connect=limits.connect, read=limits.idle + patience),
                )
        except (HTTPError, OSError, ValueError) as error:
            logger.info("%s: %s", shown, _why(error))
            raise Unreachable(_why(error), is_tls=isinstance(error, SSLError | ssl.SSLError)) from None
        if data is not None:
            self.stats.count(host, "sent", data.size, blob)
        wanted = headers.get("Range", "")
        took = time.monotonic() - started
        logger.info("%s %s%d in %.3f s", shown, f"{wanted} " if wanted else "", raw.status, took)
        return Response(raw, url, host, self, blob)

    def close(self) -> None:
        """Close all connections that are idle."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.clear()

    def _pool(self, host: str, url: str, *, is_insecure: bool) -> urllib3.PoolManager:
        with self._lock:
            key = url.partition("://")[0] + "://" + host, is_insecure
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = self._new_pool(host, url, is_insecure=is_insecure)
            return pool

    def _new_pool(self, host: str, url: str, *, is_insecure: bool) -> urllib3.PoolManager:
        # urllib3 logs whole URLs, in which there may be secrets
        logging.getLogger("urllib3").setLevel(logging.WARNING)
        if is_insecure:  # as the user has said
            warnings.simplefilter("ignore", InsecureRequestWarning)
        endpoint = Endpoint(host, "", is_insecure, False)
        context = self.configuration.ssl_context(endpoint) if url.startswith("https:") else None
        proxy = self.configuration.proxy(url)
        if proxy is None:
            return with_time_limits(urllib3.PoolManager(maxsize=16, ssl_context=context), context)
        of_proxy = tls_context(None, is_insecure=is_insecure)
        manager = urllib3.ProxyManager(
            proxy,
            maxsize=16,
            ssl_context=context,
            proxy_headers=_credentials_in(proxy),
            proxy_ssl_context=of_proxy,
        )
        return with_time_limits(manager, context, of_proxy)


def web_address(text: str, base: str = "") -> str:
    """A URL that a registry has given, which may be relative to `base`. Raises RegistryError if it is none."""
    try:
        url = urljoin(base, text)
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https"):
        raise RegistryError("it leads to what is no web address")
    return url


def _credentials_in(proxy: str) -> dict[str, str]:
    """The headers with the name and the password in the URL of a proxy; none if there are none."""
    user, _, password = urlsplit(proxy).netloc.rpartition("@")[0].partition(":")
    return dict(urllib3.make_headers(proxy_basic_auth=f"{unquote(user)}:{unquote(password)}")) if user else {}


def _why(error: Exception) -> str:
    """What went wrong, without the names of Python objects that urllib3 puts before it, and without URLs."""
    if isinstance(error, ProxyError):
        return f"its proxy: {_why(error.original_error)}"
    seen: BaseException = error
    while isinstance(
        inner := getattr(seen, "reason", None) or seen.__cause__ or next(iter(seen.args), None), Exception
    ):
        seen = inner
    if isinstance(
        seen, urllib3.exceptions.ReadTimeoutError | urllib3.exceptions.ConnectTimeoutError | TimeoutError
    ):
        return "it does not answer in time"
    if isinstance(seen, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {seen.verify_message}"
    if isinstance(seen, ssl.SSLError):
        return f"{(seen.reason or str(seen)).lower().replace('_', ' ')} (--tls-verify=false also tries http)"
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    if isinstance(seen, urllib3.exceptions.IncompleteRead | urllib3.exceptions.ProtocolError):
        return "the connection broke off"
    return str(seen).partition(": ")[2].partition(" (Caused")[0] or type(seen).__name__
