"""A registry whose faults are switches, and which counts what it is asked for: part of the real protocol, in memory.

It listens at two ports. The second stands for the storage that large registries redirect to, and takes no credentials.
"""

import base64
import hashlib
import json
import math
import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from ssl import SSLContext
from threading import Lock, Thread
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
SECRET = "the-password"
_ENDLESS = {
    "nothing": (b"", b""),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n"),
    "line": (b"HTTP/1.1 200 OK\r\nX-Line: ", b"x"),
}
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Faults:
    """What goes wrong; counters count down to 0, and -1 is for ever."""

    whole: int = 0
    """Ranges that are answered with all of the blob."""
    whole_with_range: int = 0
    """... and a Content-Range."""
    shifted: int = 0
    """Ranges that are answered with others."""
    cut: int = 0
    """Bodies of blobs that end in the middle, with the connection."""
    flipped: int = 0
    """Bodies of blobs with a wrong byte."""
    slow: str = ""
    """What is sent slowly and without end: `nothing`, the interim response `continue`, `headers` or one `line` of them;
    or the `body` byte by byte; or the body in `pieces`, which is no fault."""
    slow_path: str = ""
    """A pattern in the paths for which that is so."""
    statuses: list[int] = field(default_factory=list)
    """What the next requests are answered with."""
    retry_after: str = ""
    auth: str = ""
    """`basic`, `bearer`, or empty."""
    challenge_on_ping_only: bool = False
    token_uses: int = -1
    """Requests for which a token is good."""
    token_lives: float = math.inf
    """Seconds for which a token is good."""
    token_field: str = "token"
    token_expires: int | None = None
    redirect: str = ""
    """`storage` sends readers of blobs to the second port, `loop` round and round, and another text to that place."""
    url_uses: int = -1
    """Requests for which a URL of the second port is good."""
    url_lives: float = math.inf
    """Seconds for which a URL of the second port is good."""
    url_status: int = 403
    url_challenge: bool = False
    """Whether the second port asks for a password, to be sent to itself."""
    endless_redirects: bool = False
    """Whether redirects state that they have no body, and have one of 64 MiB."""
    lying_416: bool = False
    digest_header: str | None = None
    """What is said to be the digest; empty leaves it out."""
    content_type: str = ""
    """A parameter behind every type."""
    referrers: str = ""
    """`api`, `unfiltered`, `pages`, `html`, or empty for none."""
    tag_page: int = 0
    """Names of tags and repositories on a page; 0 puts them all on one."""
    links: str = ""
    """Where pages lead: in a `circle`, on and on (`endless`), or by another name of the host (`other host`)."""
    odd_names: tuple[object, ...] = ()
    """What lists of tags and repositories begin with."""
    catalog_status: int = 200
    refuses_subject: bool = False
    refuses_artifacts: bool = False
    read_only: bool = False


@dataclass
class Seen:
    """A request as it came in; `port` is 0 for the registry and 1 for its storage. `sent` counts bytes as they go."""

    port: int
    method: str
    path: str
    range: str
    has_credentials: bool
    sent: int = 0


class Quirky:
    """The registry: what is in it, what is wrong with it, and what it was asked for."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET, tls: SSLContext | None = None) -> None:
        self.faults = Faults()
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}  # by repository, and tag or digest
        self.seen: list[Seen] = []
        self.lock = Lock()
        self.tokens: dict[str, int] = {}
        self.urls: dict[str, int] = {}
        self.made: dict[str, float] = {}  # when tokens and keys of URLs were
        self.expired: list[str] = []  # those that were refused because of their age, each time
        self.uploads: dict[str, bytearray] = {}
        self.servers = [_Server(self, port, family, tls if port == 0 else None) for port in (0, 1)]

    @property
    def address(self) -> str:
        return self.servers[0].address

    def blob(self, data: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def manifest(self, repository: str, reference: str, data: bytes, kind: str) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        for name in (reference, digest):
            self.manifests[repository, name] = kind, data
        return digest

    def tags(self, repository: str) -> list[str]:
        return sorted(name for where, name in self.manifests if where == repository and ":" not in name)

    def take(self) -> list[Seen]:
        """What was asked for since the last call."""
        with self.lock:
            seen, self.seen = self.seen, []
        return seen

    def is_old(self, secret: str, lives: float) -> bool:
        """Whether a token or a key of a URL has lived too long."""
        is_old = time.monotonic() - self.made.get(secret, math.inf) > lives
        if is_old:
            self.expired.append(secret)
        return is_old

    def hit(self, name: str) -> bool:
        """Whether a fault strikes now; counts it down."""
        with self.lock:
            left = getattr(self.faults, name)
            if left > 0:
                setattr(self.faults, name, left - 1)
            return bool(left)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, registry: Quirky, port: int, family: socket.AddressFamily, tls: SSLContext | None
    ) -> None:
        self.address_family = family
        self.registry, self.number = registry, port
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        super().__init__((host, 0), _Handler)
        self.address = f"{f'[{host}]' if ':' in host else host}:{self.server_address[1]}"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up as they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *arguments: object) -> None:
        pass

    def handle_expect_100(self) -> bool:
        return True

    def _run(self) -> None:
        registry, faults = self.server.registry, self.server.registry.faults
        self._body = self._read_body()
        has_credentials = "Authorization" in self.headers
        self._seen = Seen(
            self.server.number, self.command, self.path, self.headers.get("Range") or "", has_credentials
        )
        with registry.lock:
            registry.seen.append(self._seen)
        parts = urlsplit(self.path)
        self._query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        is_slow = re.search(faults.slow_path, self.path) is not None
        self._slow = faults.slow if is_slow else ""
        if self._slow in _ENDLESS:
            first, rest = _ENDLESS[self._slow]
            self._send_slowly(chain([first], repeat(rest)))
        elif self.server.number:
            self._storage(parts.path)
        elif parts.path == "/token":
            self._token()
        elif self._may_go_on(parts.path):
            self._registry(parts.path)

    def _send_slowly(self, pieces: Iterable[bytes], pause: float = 0.02) -> None:
        with suppress(OSError):
            for piece in pieces:
                self.wfile.write(piece)
                self._seen.sent += len(piece)
                time.sleep(pause)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _run  # noqa: N815

    def _may_go_on(self, path: str) -> bool:
        registry, faults = self.server.registry, self.server.registry.faults
        if faults.statuses and path != "/v2/":
            with registry.lock:
                status = faults.statuses.pop(0)
            self._reply(status, b"", {"Retry-After": faults.retry_after} if faults.retry_after else {})
            return False
        if not faults.auth:
            return True
        scheme, _, secret = (self.headers.get("Authorization") or "").partition(" ")
        if faults.auth == "basic" and scheme == "Basic":
            return self._has_password(secret) or self._challenge(path)
        if faults.auth == "bearer" and scheme == "Bearer":
            with registry.lock:
                uses = registry.tokens.get(secret, 0)
                registry.tokens[secret] = uses - (uses > 0)
                is_good = bool(uses) and not registry.is_old(secret, faults.token_lives)
            return is_good or self._challenge(path)
        return self._challenge(path)

    def _has_password(self, secret: str) -> bool:
        return base64.b64decode(secret).decode() == f"me:{SECRET}"

    def _challenge(self, path: str) -> bool:
        faults, address = self.server.registry.faults, self.server.address
        basic, bearer = 'Basic realm="quirky"', f'Bearer realm="http://{address}/token",service="quirky"'
        header = {"WWW-Authenticate": basic if faults.auth == "basic" else bearer}
        self._error(401, "UNAUTHORIZED", {} if faults.challenge_on_ping_only and path != "/v2/" else header)
        return False

    def _token(self) -> None:
        registry, faults = self.server.registry, self.server.registry.faults
        scheme, _, secret = (self.headers.get("Authorization") or "").partition(" ")
        form = {key: values[0] for key, values in parse_qs(self._body.decode()).items()}
        if form.get("refresh_token") != SECRET and not (scheme == "Basic" and self._has_password(secret)):
            self._error(401, "UNAUTHORIZED")
            return
        with registry.lock:
            token = f"token-{len(registry.tokens)}"
            registry.tokens[token] = faults.token_uses
            registry.made[token] = time.monotonic()
        answer: dict[str, object] = {faults.token_field: token}
        self._json(answer if faults.token_expires is None else answer | {"expires_in": faults.token_expires})

    def _registry(self, path: str) -> None:
        registry, faults = self.server.registry, self.server.registry.faults
        if path == "/v2/":
            self._json({})
        elif path == "/v2/_catalog":
            if faults.catalog_status == 200:
                self._names("repositories", sorted({where for where, _ in registry.manifests}))
            else:
                self._error(faults.catalog_status, "UNSUPPORTED")
        elif match := re.fullmatch(r"/v2/(.+)/tags/list", path):
            self._names("tags", registry.tags(match[1]))
        elif match := re.fullmatch(r"/v2/(.+)/referrers/(.+)", path):
            self._referrers(*match.groups())
        elif match := re.fullmatch(r"/v2/(.+)/manifests/(.+)", path):
            self._manifest(*match.groups())
        elif match := re.fullmatch(r"/v2/(.+)/blobs/uploads/(.*)", path):
            self._upload(*match.groups())
        elif match := re.fullmatch(r"/v2/(.+)/blobs/(.+)", path):
            self._blob(match[2].rstrip("x"))
        else:
            self._error(404, "NAME_UNKNOWN")

    def _manifest(self, repository: str, reference: str) -> None:
        registry, faults = self.server.registry, self.server.registry.faults
        if self.command == "PUT":
            document = json.loads(self._body)
            if faults.read_only or (faults.refuses_subject and "subject" in document):
                self._error(405, "UNSUPPORTED")
            elif faults.refuses_artifacts and "artifactType" in document:
                self._error(400, "MANIFEST_INVALID")
            else:
                digest = registry.manifest(repository, reference, self._body, self.headers["Content-Type"])
                has_api = faults.referrers not in ("", "html")
                subject = document.get("subject", {}).get("digest")
                more = {"OCI-Subject": subject} if has_api and subject else {}
                self._reply(201, b"", {"Docker-Content-Digest": digest, "Location": self.path} | more)
            return
        found = registry.manifests.get((repository, reference))
        if found is None:
            self._error(404, "MANIFEST_UNKNOWN")
            return
        kind, data = found
        self._reply(200, data, {"Content-Type": kind + faults.content_type} | self._digest(data))

    def _digest(self, data: bytes) -> dict[str, str]:
        stated = self.server.registry.faults.digest_header
        digest = "sha256:" + hashlib.sha256(data).hexdigest() if stated is None else stated
        return {"Docker-Content-Digest": digest} if digest else {}

    def _referrers(self, repository: str, digest: str) -> None:
        registry, faults = self.server.registry, self.server.registry.faults
        if faults.referrers == "html":
            self._reply(303, b"<html>", {"Location": "/page", "Content-Type": "text/html"})
            return
        if not faults.referrers:
            self._error(404, "NAME_UNKNOWN")
            return
        listed = []
        for (where, name), (kind, data) in registry.manifests.items():
            document = json.loads(data)
            if where == repository and ":" in name and document.get("subject", {}).get("digest") == digest:
                of_type = document.get("artifactType") or document["config"]["mediaType"]
                listed.append({"mediaType": kind, "digest": name, "size": len(data), "artifactType": of_type})
        if faults.referrers != "unfiltered" and (wanted := self._query.get("artifactType")):
            listed = [each for each in listed if each["artifactType"] == wanted]
        size = 1 if faults.referrers == "pages" else 0
        self._page(
            "manifests", listed, size, {"schemaVersion": 2, "mediaType": INDEX}, {"Content-Type": INDEX}
        )

    def _blob(self, digest: str) -> None:
        registry, faults = self.server.registry, self.server.registry.faults
        data = registry.blobs.get(digest)
        if data is None:
            self._error(404, "BLOB_UNKNOWN")
        elif faults.redirect == "loop":
            self._reply(307, b"", {"Location": f"{self.path}x" if len(self.path) < 200 else self.path})
        elif faults.redirect == "storage" and self.command == "GET":
            with registry.lock:
                key = f"key-{len(registry.urls)}"
                registry.urls[key] = faults.url_uses
                registry.made[key] = time.monotonic()
            storage = registry.servers[1].address
            self._reply(307, b"", {"Location": f"http://{storage}/{digest}?signature={key}"})
        elif faults.redirect and faults.redirect != "storage":
            self._reply(307, b"", {"Location": faults.redirect})
        else:
            self._content(data)

    def _storage(self, path: str) -> None:
        registry, faults = self.server.registry, self.server.registry.faults
        key = self._query.get("signature", "")
        with registry.lock:
            uses = registry.urls.get(key, 0)
            registry.urls[key] = uses - (uses > 0)
            is_good = bool(uses) and not registry.is_old(key, faults.url_lives)
        if "Authorization" in self.headers:
            self._reply(400, b"Only one auth mechanism allowed")
        elif self.command == "HEAD":
            self._reply(403, b"")
        elif not is_good:
            realm = f'Bearer realm="http://{registry.servers[1].address}/token"'
            challenge = {"WWW-Authenticate": realm} if faults.url_challenge else {}
            self._reply(faults.url_status, b"<Error>expired</Error>", challenge)
        else:
            self._content(registry.blobs[path[1:]])

    def _content(self, data: bytes) -> None:
        registry, faults = self.server.registry, self.server.registry.faults
        match = _RANGE.fullmatch(self.headers.get("Range") or "")
        if match is None or registry.hit("whole"):
            self._reply(200, data, self._digest(data))
            return
        start, end = int(match[1]), min(int(match[2] or len(data) - 1), len(data) - 1)
        if start >= len(data):
            length = len(data) if faults.lying_416 else 0
            self._reply(416, b"", {"Content-Length": str(length)})
            return
        if registry.hit("shifted"):
            start, end = max(0, start - 7), max(0, end - 7)
        stated = {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
        status = 200 if registry.hit("whole_with_range") else 206
        self._reply(status, data[start : end + 1], stated | self._digest(data))

    def _upload(self, repository: str, name: str) -> None:
        registry = self.server.registry
        if registry.faults.read_only:
            self._error(405, "UNSUPPORTED")
            return
        if self.command == "POST":
            name = f"upload-{len(registry.uploads)}"
            registry.uploads[name] = bytearray()
        upload = registry.uploads[name]
        upload += self._body
        place = {
            "Location": f"/v2/{repository}/blobs/uploads/{name}?state=1",
            "Range": f"0-{max(0, len(upload) - 1)}",
        }
        if self.command == "PUT":
            digest = registry.blob(bytes(upload))
            right = digest == self._query.get("digest")
            self._reply(201 if right else 400, b"", {"Location": f"/v2/{repository}/blobs/{digest}"})
        else:
            self._reply(204 if self.command == "GET" else 202, b"", place)

    def _names(self, key: str, names: list[str]) -> None:
        faults = self.server.registry.faults
        self._page(key, [*faults.odd_names, *names], faults.tag_page)

    def _page(
        self,
        key: str,
        items: list[object] | list[dict[str, object]],
        size: int,
        document: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        at = int(self._query.get("at", 0))
        end = at + size if size else len(items)
        place, faults = urlsplit(self.path).path, self.server.registry.faults
        is_last = end >= len(items)
        after = {"circle": at, "endless": end}.get(faults.links, None if is_last else end)
        place = f"https://inner.example{place}" if faults.links == "other host" else place
        link = {"Link": f'<{place}?at={after}>; rel="next"'} if after is not None else {}
        self._json((document or {}) | {key: items[at:end]}, (headers or {}) | link)

    def _json(self, document: object, headers: dict[str, str] | None = None) -> None:
        self._reply(
            200, json.dumps(document).encode(), {"Content-Type": "application/json"} | (headers or {})
        )

    def _error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": code.replace("_", " ").lower()}]}).encode()
        self._reply(status, body, {"Content-Type": "application/json"} | (headers or {}))

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        registry, faults = self.server.registry, self.server.registry.faults
        of_blob = (
            "/sha256:" in self.path and "manifests" not in self.path and status in (200, 206) and bool(body)
        )
        stated = {"Content-Length": str(len(body))} | (headers or {})
        if of_blob and registry.hit("flipped"):
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        is_endless = faults.endless_redirects and status == 307
        if is_endless:
            stated |= {"Content-Length": "0", "Transfer-Encoding": "chunked"}
        self.send_response(status)
        for name, value in stated.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if of_blob and registry.hit("cut"):
            body, self.close_connection = body[: len(body) // 2], True
        with suppress(OSError):
            if is_endless:
                for _ in range(1024):
                    self.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
                    self._seen.sent += 1 << 16
            elif self._slow in ("body", "pieces"):
                size, pause = (1, 0.02) if self._slow == "body" else (1 << 15, 0.05)
                self._send_slowly((body[at : at + size] for at in range(0, len(body), size)), pause)
            else:
                self._seen.sent = len(body)
                self.wfile.write(body)


@contextmanager
def running_quirky(
    family: socket.AddressFamily = socket.AF_INET, tls: SSLContext | None = None
) -> Iterator[Quirky]:
    """A quirky registry without anything in it; `tls` is for its first port alone."""
    registry = Quirky(family, tls)
    try:
        yield registry
    finally:
        for server in registry.servers:
            server.shutdown()
            server.server_close()
