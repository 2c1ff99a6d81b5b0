"""What a registry is sent to be let in: a password or a token, renewed when it is refused.

Format: the distribution project's token authentication specification, and its OAuth 2 variant for identity tokens.
Secrets go to the host that they are for, and to the realm that it names, and nowhere else.
Tried by the tests of the client.
"""

import base64
import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from imgfs.errors import InvalidImage
from imgfs.go_json import parse_json
from imgfs.registry.account import Credentials
from imgfs.registry.challenge import Challenge
from imgfs.registry.transport import RegistryError, Transport, web_address
from imgfs.single_flight import SingleFlight

_SHORTEST = 60  # seconds that a token lives at least, by its specification
_LONGEST = 24 * 3600
_RENEWED_AT = 0.9  # of its life
_LARGEST = 1 << 20  # bytes of a response with a token

Scopes = tuple[str, ...]
ReadCredentials = Callable[[], Credentials | None]


class _Answer(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: int = 0


class _Token(NamedTuple):
    header: str
    renew_at: float


class Authorizer:
    """Lets requests to one host in. Safe to use from several threads."""

    def __init__(self, transport: Transport, host: str, *, is_insecure: bool) -> None:
        self._transport = transport
        self._host = host
        self._is_insecure = is_insecure
        self._lock = Lock()  # of what follows; never held while asking
        self._asking: SingleFlight[Scopes, _Token | None] = SingleFlight()
        self._challenges: Sequence[Challenge] = ()
        self._tokens: dict[Scopes, _Token] = {}

    def learn(self, challenges: Sequence[Challenge]) -> None:
        """Take what the host asks for; none if it lets everybody in."""
        with self._lock:
            known = [each for each in challenges if each.scheme in ("bearer", "basic")]
            if known or not self._challenges:
                self._challenges = known

    def header(self, scopes: Scopes, read_credentials: ReadCredentials) -> str | None:
        """The `Authorization` for a request that needs `scopes`, None if nothing is asked for. May block.

        `read_credentials` reads those that are kept for what is asked for. Raises RegistryError if there are none where
        they are needed, or they are refused.
        """
        token = self._kept(scopes) or self._asking.call(scopes, lambda: self._new(scopes, read_credentials))
        return None if token is None else token.header

    def drop(self, header: str | None) -> None:
        """Forget what was refused, so that it is asked for again."""
        with self._lock:
            self._tokens = {scopes: token for scopes, token in self._tokens.items() if token.header != header}

    def _kept(self, scopes: Scopes) -> _Token | None:
        with self._lock:
            token = self._tokens.get(scopes)
        return token if token is not None and time.monotonic() < token.renew_at else None

    def _new(self, scopes: Scopes, read_credentials: ReadCredentials) -> _Token | None:
        token = self._kept(scopes) or self._ask(scopes, read_credentials)
        if token is not None:
            with self._lock:
                self._tokens[scopes] = token
        return token

    def _ask(self, scopes: Scopes, read_credentials: ReadCredentials) -> _Token | None:
        bearer = next(
            (each for each in self._challenges if each.scheme == "bearer" and each.get("realm")), None
        )
        if bearer is not None:
            return self._token(bearer, scopes, read_credentials())
        if any(each.scheme == "basic" for each in self._challenges):
            credentials = read_credentials()
            if credentials is None or not credentials.username:
                raise RegistryError(
                    f"{self._host} wants a name and a password, and none is known for it", 401
                )
            return _Token(_basic(credentials), time.monotonic() + _SHORTEST)
        return None

    def _token(self, challenge: Challenge, scopes: Scopes, credentials: Credentials | None) -> _Token:
        realm, service = challenge.get("realm"), challenge.get("service")
        parts = urlsplit(web_address(realm))
        if parts.scheme != "https" and not (parts.scheme == "http" and self._is_insecure):
            raise RegistryError(f"{self._host} sends for a token to a place that is not secure", 401)
        fields = [("service", service)] if service else []
        fields += [("scope", scope) for scope in scopes]
        headers, body, url = {}, None, realm
        if credentials is not None and credentials.identity_token:
            fields = [("service", service), ("scope", " ".join(scopes)), ("client_id", "imgfs")]
            fields += [("grant_type", "refresh_token"), ("refresh_token", credentials.identity_token)]
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(fields).encode()
        else:
            if credentials is not None:
                headers["Authorization"] = _basic(credentials)
                fields.insert(0, ("account", credentials.username))
            url = f"{realm}{'&' if parts.query else '?'}{urlencode(fields)}"
        answer = self._fetch("POST" if body is not None else "GET", url, headers, body)
        token = answer.token or answer.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise RegistryError(f"{_shown(realm)} gives no token for {self._host}")
        lives = min(max(_SHORTEST, answer.expires_in), _LONGEST)
        return _Token(f"Bearer {token}", time.monotonic() + _RENEWED_AT * lives)

    def _fetch(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> _Answer:
        host = _shown(url)
        try:
            response = self._transport.send(method, url, headers, body, is_insecure=self._is_insecure)
            if response.status != 200:
                response.error_body()
                refused = response.status in (400, 401, 403)
                why = (
                    "refuses the credentials"
                    if refused and (headers or body)
                    else f"answers {response.status}"
                )
                raise RegistryError(f"{host}, which gives tokens for {self._host}, {why}", response.status)
            return parse_json(response.read(_LARGEST), _Answer, f"the token of {host}")
        except InvalidImage:
            # the answer may hold a secret
            raise RegistryError(
                f"{host}, which gives tokens for {self._host}, does not answer in JSON"
            ) from None
        except RegistryError as error:
            if host in str(error):
                raise
            raise type(error)(f"{host}, which gives tokens for {self._host}: {error}") from None


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _shown(url: str) -> str:
    """The host of a URL, without what may be a password before it."""
    return urlsplit(url).netloc.rpartition("@")[2]
