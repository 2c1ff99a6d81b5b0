"""A registry in memory that takes uploads, with what goes wrong as switches; it counts the requests of each kind."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from urllib.parse import parse_qs, urlsplit

from tests.images import digest


@dataclass
class Uploads:
    """What the registry has, and how it behaves.

    Of the Nth PATCH, from 1: `dropped` ones end amid the body, `refused` ones are answered with a status, of `halved`
    ones only half is kept; with `stale`, the range is that of the first one. Of the last request of an upload,
    `dropped_puts` break off amid the body, of `lost_puts` the response is not sent, and where it `stalls`, they wait
    until it may `go_on`. `statuses` are those of a method. Tokens are good for `token_uses` requests.
    """

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    chunks: list[int] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    dropped: set[int] = field(default_factory=set)
    refused: dict[int, int] = field(default_factory=dict)
    halved: set[int] = field(default_factory=set)
    forgotten: set[int] = field(default_factory=set)
    stale: bool = False
    dropped_puts: int = 0
    lost_puts: int = 0
    go_on: Event = field(default_factory=Event)
    stalls: bool = False
    statuses: dict[str, int] = field(default_factory=dict)
    least: int = 0
    token_uses: int = 0
    stated: str = ""
    mounts: bool = True
    place: str = "{path}?state=a%2Fb"
    lock: Lock = field(default_factory=Lock)
    used: int = 0
    tokens: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Uploads

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def answer(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_request(self) -> None:
        state, parts = self.state, urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        length = int(self.headers.get("Content-Length", 0))
        if parts.path == "/token":
            state.scopes += parse_qs(parts.query).get("scope", [])
            state.tokens, state.used = state.tokens + 1, 0
            self.answer(200, json.dumps({"token": f"t{state.tokens}"}).encode())
            return
        with state.lock:
            state.requests[self.command] += 1
            number = state.requests["PATCH"]
        if state.token_uses:
            state.used += 1
            if (
                self.headers.get("Authorization") != f"Bearer t{state.tokens}"
                or state.used > state.token_uses
            ):
                self.rfile.read(length)
                realm = f"http://{self.headers['Host']}/token"
                self.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')
                return
        if self.command == "PATCH" and number in state.dropped:
            upload = state.uploads[parts.path.rpartition("/")[2]]
            upload += self.rfile.read(length // 2)
            self.close_connection = True
            return
        if self.command == "PUT" and state.stalls:
            state.go_on.wait(60)
        if self.command == "PUT" and length and state.dropped_puts:
            state.dropped_puts -= 1
            upload = state.uploads[parts.path.rpartition("/")[2]]
            upload += self.rfile.read(length // 2)
            self.close_connection = True
            return
        body = self.rfile.read(length)
        status = state.refused.get(number) if self.command == "PATCH" else state.statuses.get(self.command)
        if status:
            self.answer(status, b'{"errors":[{"code":"DENIED","message":"quota"}]}')
            return
        self.route(parts.path, query, body, number)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request  # noqa: N815

    def route(self, path: str, query: dict[str, str], body: bytes, number: int) -> None:
        state = self.state
        if path == "/v2/":
            self.answer(200)
        elif match := re.fullmatch(r"/v2/(.+)/manifests/(.+)", path):
            state.manifests[match[1], match[2]] = self.headers["Content-Type"], body
            self.answer(201, Docker_Content_Digest=state.stated or digest(body))
        elif match := re.fullmatch(r"/v2/(.+)/blobs/uploads/", path):
            mounted = state.blobs.get((query.get("from", ""), query.get("mount", "")))
            if mounted is not None and state.mounts:
                state.blobs[match[1], query["mount"]] = mounted
                self.answer(201, Location="/", Docker_Content_Digest=query["mount"])
                return
            name = f"u{len(state.uploads)}"
            state.uploads[name] = bytearray()
            least = str(state.least or "")
            self.answer(202, Location=self.place(f"{path}{name}"), Range="0-0", OCI_Chunk_Min_Length=least)
        elif match := re.fullmatch(r"/v2/(.+)/blobs/uploads/(.+)", path):
            self.upload(match[1], match[2], query, body, number)
        elif match := re.fullmatch(r"/v2/(.+)/blobs/(.+)", path):
            found = state.blobs.get((match[1], match[2]))
            self.answer(404 if found is None else 200, found or b"")

    def place(self, path: str) -> str:
        return self.state.place.format(path=path, host=self.headers["Host"])

    def upload(self, repository: str, name: str, query: dict[str, str], body: bytes, number: int) -> None:
        state = self.state
        data = state.uploads.get(name)
        if data is None or (self.command == "PATCH" and number in state.forgotten):
            state.uploads.pop(name, None)
            self.answer(404)
            return
        assert query["state"] == "a/b"
        if self.command == "DELETE":
            del state.uploads[name]
            self.answer(204)
            return
        start = int(self.headers.get("Content-Range", f"{len(data)}-").partition("-")[0])
        if start != len(data):
            self.answer(416, Range=f"0-{len(data) - 1}")
            return
        if body:
            state.chunks.append(len(body))
        data += body[: len(body) // 2] if self.command == "PATCH" and number in state.halved else body
        if self.command != "PUT":
            status = 204 if self.command == "GET" else 202
            stated = state.chunks[0] if state.stale else len(data)
            place = self.place(self.path.partition("?")[0])
            self.answer(status, Location=place, Range=f"0-{max(stated - 1, 0)}")
            return
        if digest(bytes(data)) != query["digest"]:
            self.answer(400)
            return
        state.blobs[repository, query["digest"]] = bytes(data)
        del state.uploads[name]
        if state.lost_puts:
            state.lost_puts -= 1
            self.close_connection = True
            return
        self.answer(201, Docker_Content_Digest=state.stated or query["digest"])


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that were dropped."""


@contextmanager
def uploads() -> Iterator[tuple[str, Uploads]]:
    """A registry of this kind: its `HOST:PORT`, and its state."""
    state = Uploads()
    handler = type("Handler", (_Handler,), {"state": state})
    with _Server(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", state
        finally:
            server.shutdown()
            thread.join()
