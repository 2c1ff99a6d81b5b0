"""Requests to one registry until they are answered: who we are, redirects, and what is tried again.

Format: OCI distribution specification. Redirects are followed by hand: only the range goes along to another origin,
never credentials, and never from https to http.
Tried by the tests of the client.
"""

import email.utils
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import msgspec

from imgfs.blob import Blob
from imgfs.errors import InvalidImage
from imgfs.go_json import parse_json
from imgfs.lru import LRU
from imgfs.registry.challenge import parse_challenges
from imgfs.registry.configuration import Endpoint
from imgfs.registry.connections import time_left, time_limit
from imgfs.registry.tokens import Authorizer, Scopes
from imgfs.registry.transport import Limits, RegistryError, Response, Transport, Unreachable, web_address
from imgfs.single_flight import SingleFlight

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_KEPT = 60  # seconds that the place behind a redirect is used without asking the registry again
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_EXPIRED = (400, 401, 403, 404, 410)  # how places behind redirects say that a URL is too old
_HUB, _HUB_HOST = "docker.io", "registry-1.docker.io"


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] = []


@dataclass(frozen=True, slots=True)
class Request:
    """A request for `path`, which begins with `/v2/`, or a URL that the registry has given, of `endpoint`.

    `ok` are the statuses that are a success; `scopes` what a token has to allow. The same request may be sent again
    if it `is_safe`. Redirects are followed unless `follows` is false; then they are a success if they are `ok`. The
    response may be `patience` seconds later than others.
    """

    endpoint: Endpoint
    method: str
    path: str
    scopes: Scopes = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Blob | None = None
    ok: Collection[int] = (200,)
    is_safe: bool = True
    follows: bool = True
    blob: str | None = None
    patience: float = 0


class Session:
    """What is known of one host while it is asked. Safe to use from several threads."""

    def __init__(self, transport: Transport, host: str, *, is_insecure: bool) -> None:
        self._transport = transport
        self._is_insecure = is_insecure
        self._host = _HUB_HOST if host == _HUB else host
        self._base = ""
        self._pings: SingleFlight[str, str] = SingleFlight()
        self._redirects: LRU[str, tuple[str, float]] = LRU(4096)
        self._authorizer = Authorizer(transport, self._host, is_insecure=is_insecure)

    def request(self, request: Request) -> Response:
        """The response, with one of the statuses that are a success, its body unread.

        Raises RegistryError, whose message is the cause alone.
        """
        limits = self._transport.limits
        with time_limit(limits.patience + limits.sending(request.body) + request.patience):
            return self._request(request, limits)

    def _request(self, request: Request, limits: Limits) -> Response:
        tries, waited, renewed, resolved = 1, 0.0, False, False
        started = time.monotonic()

        def is_over() -> bool:
            return (
                tries >= limits.attempts or time.monotonic() - started > limits.patience or time_left() <= 0
            )

        while True:
            header: str | None = None
            try:
                url = urljoin(self._find_base() + "/", request.path)
                header = self._header(request, url)
                response, is_elsewhere = self._follow(request, url, header)
            except Unreachable as error:
                was_reached = bool(self._base)  # else its name or port may be wrong
                if not request.is_safe or error.is_tls or not was_reached or is_over():
                    raise
                pause = limits.pause * 2**tries
            else:
                if response.status in request.ok:
                    return response
                if is_elsewhere and response.status in _EXPIRED and not resolved:
                    resolved = True
                    response.error_body()
                    kept = self._redirects.get(url)
                    # else another thread has asked meanwhile
                    if kept is not None and kept[0] == response.url:
                        self._redirects.pop(url)
                    continue
                if response.status == 401 and not is_elsewhere and not renewed and self._is_here(url):
                    renewed = True
                    response.error_body()
                    self._authorizer.learn(parse_challenges(response.header_lines("WWW-Authenticate")))
                    self._authorizer.drop(header)
                    continue
                may_again = response.status in _AGAIN and (request.is_safe or response.status == 429)
                if not may_again or is_over():
                    raise _failure(response, had_credentials=(header or "").startswith("Basic "))
                pause = _retry_after(response) or limits.pause * 2**tries
                if waited + pause > limits.wait:
                    raise _failure(response)
                response.error_body()
            tries += 1
            waited += pause
            self._transport.stats.count(self._host, "retries", 1, request.blob)
            time.sleep(pause)

    def _follow(self, request: Request, url: str, header: str | None) -> tuple[Response, bool]:
        """The response at the end of all redirects, and whether that is from another origin."""
        kept = self._redirects.get(url) if request.method == "GET" else None
        here, is_elsewhere = url, False
        if kept is not None and time.monotonic() < kept[1]:
            here, is_elsewhere = kept[0], True
        for _ in range(_MOST_REDIRECTS + 1):
            headers = dict(request.headers)
            if is_elsewhere:
                headers = {name: headers[name] for name in ("Range",) if name in headers}
            elif header is not None:
                headers["Authorization"] = header
            response = self._transport.send(
                request.method,
                here,
                headers,
                request.body,
                is_insecure=self._is_insecure,
                blob=request.blob,
                patience=request.patience,
            )
            target = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or not request.follows or not target:
                if is_elsewhere and request.method == "GET" and response.status in request.ok and here != url:
                    self._redirects.put(url, (here, time.monotonic() + _KEPT))
                return response, is_elsewhere
            response.close(is_whole=response.length == 0)
            after = web_address(target, here)
            if here.startswith("https:") and not after.startswith("https:"):
                raise RegistryError("it redirects from https to http", response.status)
            is_elsewhere = is_elsewhere or not self._is_here(after)
            if is_elsewhere and request.method not in ("GET", "HEAD"):
                raise RegistryError("it redirects an upload to another place", response.status)
            here = after
        raise RegistryError(f"it redirects more than {_MOST_REDIRECTS} times")

    def _header(self, request: Request, url: str) -> str | None:
        """What lets a request in; nothing for one to another origin."""
        if not self._is_here(url):
            return None
        configuration = self._transport.configuration
        return self._authorizer.header(request.scopes, lambda: configuration.credentials(request.endpoint))

    def _is_here(self, url: str) -> bool:
        parts, base = urlsplit(url), urlsplit(self._base)
        return (parts.scheme, parts.netloc) == (base.scheme, base.netloc)

    def _find_base(self) -> str:
        """How the host is reached, found out once, with what it asks for: `https://HOST`, or http if it is insecure."""
        return self._base or self._pings.call("", self._ping)

    def _ping(self) -> str:
        if self._base:
            return self._base
        schemes = ("https", "http") if self._is_insecure else ("https",)
        for scheme in schemes:
            base = f"{scheme}://{self._host}"
            try:
                response = self._transport.send("GET", f"{base}/v2/", {}, is_insecure=self._is_insecure)
            except Unreachable:
                if scheme == schemes[-1]:
                    raise
                continue
            response.error_body()
            if response.status in _AGAIN:
                raise _failure(response)
            if response.status == 401:
                self._authorizer.learn(parse_challenges(response.header_lines("WWW-Authenticate")))
            self._base = base
            return base
        raise AssertionError("there is a scheme")


def _retry_after(response: Response) -> float:
    """The pause that a response asks for, in seconds; 0 if it asks for none. RFC 9110, section 10.2.3."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = email.utils.parsedate_to_datetime(text)
        return max(0.0, at.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _failure(response: Response, *, had_credentials: bool = False) -> RegistryError:
    """The error that a response without success is, with what it says of itself."""
    said = ""
    try:
        found = parse_json(response.error_body() or b"{}", _Errors, "error").errors
        said = "; ".join((each.message or each.code)[:200] for each in found[:3])
    except InvalidImage:
        pass  # a page for people
    known = {
        401: "it refuses the credentials" if had_credentials else "authentication is required",
        403: "access is denied",
        404: "it is not there",
        429: "too many requests",
    }
    why = known.get(response.status) or f"it answers {response.status}"
    pause = response.headers.get("Retry-After", "") if response.status == 429 else ""
    wait = f", it asks to wait {pause} s" if pause.isascii() and pause.isdigit() else ""
    return RegistryError(f"{why}{wait}{f' ({said})' if said else ''}", response.status)
