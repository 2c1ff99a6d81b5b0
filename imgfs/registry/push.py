"""Writing to a repository: blobs in pieces, mounted from another repository or resumed, then manifests.

Format: OCI distribution specification 1.1, "Pushing blobs" and "Pushing manifests". Every byte is hashed as it is sent;
what a registry has received of an upload is what it says at each step, so that one that breaks off goes on from there.
"""

import hashlib
import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlencode, urljoin, urlsplit

from imgfs.blob import Blob
from imgfs.digest import Digest
from imgfs.errors import Corrupt, NotFound
from imgfs.registry.client import RemoteRepository
from imgfs.registry.reference import Repository
from imgfs.registry.transport import RegistryError, Response

logger = logging.getLogger("imgfs")

_CHUNK = 8 << 20
_MOST_CHUNK = 256 << 20
_SLOWEST = 10 << 20  # bytes a second of a registry that hashes or moves a blob once it has all of it
_BROKEN = (0, 408, 429, 500, 502, 503, 504)
"""Statuses after which an upload may go on; 0 is that of no response."""
_LOST = (404, 416)
"""Statuses that say that the registry has another idea of an upload than we have."""
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})")
_WHY = {
    405: "it takes no uploads, as one that is read-only",
    413: "it is too large for the registry",
    507: "the registry has no room for it",
}


@dataclass(slots=True)
class _Upload:
    """An upload that a registry has begun: where it goes on, how much it has, and the size of pieces that it wants."""

    url: str
    received: int = 0
    chunk: int = _CHUNK


class Pusher:
    """Writes to `repository`. Safe to use from several threads.

    Methods raise RegistryError, which names the repository, the blob or the manifest, and the cause.
    """

    def __init__(self, repository: RemoteRepository) -> None:
        self._repository = repository
        self._label = f"docker://{repository.name}"

    def reach(self) -> None:
        """Find out how the registry is reached, and be let in."""
        self._request("", "GET", "/v2/", ok=(200,), is_safe=True).close()

    def has_blob(self, digest: Digest, size: int) -> bool:
        """Whether the repository has a blob; of another size, it is another one."""
        about = f"blob {digest}"
        # one that leads elsewhere is there: S3 refuses HEAD where it allows GET
        response = self._request(
            about, "HEAD", f"blobs/{digest}", ok=(200, 307, 404), is_safe=True, follows=False
        )
        response.close(is_whole=True)
        return response.status == 307 or (response.status == 200 and response.length in (None, size))

    def upload(
        self,
        digest: Digest,
        blob: Blob,
        advance: Callable[[int], None],
        source: Repository | None = None,
    ) -> bool:
        """Have the repository have a blob; returns False if it was mounted from `source`, which is in this registry.

        `advance` is called with numbers of bytes sent, and what it raises ends the upload. Raises Corrupt if the blob
        has another digest, and what reading it raises.
        """
        sending = _Sending(digest, blob, advance)
        upload = self._begin(digest, source)
        if upload is None:
            return False
        failures = restarts = 0
        while True:
            before = upload.received
            try:
                if self._send(upload, sending):
                    return True
                failures = 0 if upload.received > before else failures + 1
            except RegistryError as error:
                if error.status not in (*_BROKEN, *_LOST):
                    raise
                failures += 1
                if failures >= self._repository.limits.attempts:
                    raise
                logger.info("%s: the upload goes on", error)
                time.sleep(min(0.25 * 2**failures, 8) if error.status in _BROKEN else 0)
                if error.status in _LOST or not self._resume(upload, digest):
                    restarts += 1
                    if self._was_received(digest, sending.size):
                        return True
                    upload = self._begin(digest) or upload
            except BaseException:
                self._cancel(upload, digest)
                raise

    def put_manifest(self, reference: str, digest: Digest, data: bytes, media_type: str) -> bool:
        """Write a manifest or an index under a tag or its digest. What it names is there already.

        Returns whether the registry says that it lists it among what refers to its subject.
        """
        about = f"manifest {digest}" if reference == digest else f"tag {reference}"
        response = self._request(
            about,
            "PUT",
            f"manifests/{reference}",
            headers={"Content-Type": media_type},
            body=data,
            ok=(200, 201, 202),
            is_safe=True,
        )
        self._compare(response, digest, about)
        return "OCI-Subject" in response.headers

    def _begin(self, digest: Digest, source: Repository | None = None) -> _Upload | None:
        """Begin an upload; None if the registry mounts the blob from another repository instead."""
        about, path = f"blob {digest}", "blobs/uploads/"
        if source is not None and source.host == self._repository.name.host:
            query = urlencode({"mount": digest, "from": source.path})
            scopes = [f"repository:{self._repository.name.path}:pull,push", f"repository:{source.path}:pull"]
            with suppress(RegistryError, NotFound):  # not allowed there, which says nothing of here
                response = self._request(about, "POST", f"{path}?{query}", ok=(201, 202), scopes=scopes)
                if response.status == 201:
                    self._compare(response, digest, about)
                    return None
                return self._begun(response, about)
        return self._begun(self._request(about, "POST", path, ok=(202,), is_safe=True), about)

    def _begun(self, response: Response, about: str) -> _Upload:
        response.read()
        least = response.headers.get("OCI-Chunk-Min-Length", "")
        chunk = int(least) if least.isascii() and least.isdigit() and len(least) < 10 else 0
        return _Upload(self._location(response, about), 0, min(max(_CHUNK, chunk), _MOST_CHUNK))

    def _send(self, upload: _Upload, sending: "_Sending") -> bool:
        """Send the next piece; returns whether the blob is there then. The last one also ends the upload."""
        about, start = f"blob {sending.digest}", upload.received
        if start > sending.hashed:
            self._fail(about, "it has more of the upload than was sent", 416)
        data = sending.read(start, upload.chunk)
        headers = {"Content-Type": "application/octet-stream"}
        if start or len(data) < sending.size:
            if data:
                headers["Content-Range"] = f"{start}-{start + len(data) - 1}"
                response = self._request(
                    about,
                    "PATCH",
                    upload.url,
                    headers=headers,
                    body=data,
                    ok=(201, 202, 204),
                    blob=sending.digest,
                )
                response.read()
                upload.url = self._location(response, about, upload.url)
                upload.received = _received(response, start + len(data))
                sending.note(upload.received)
            if upload.received < sending.size:
                return False
            data, headers = b"", {"Content-Type": "application/octet-stream"}
        sending.check()
        joint = "&" if urlsplit(upload.url).query else "?"
        response = self._request(
            about,
            "PUT",
            f"{upload.url}{joint}{urlencode({'digest': sending.digest})}",
            headers=headers,
            body=data,
            ok=(201, 204),
            patience=sending.size / _SLOWEST,
            blob=sending.digest,
        )
        self._compare(response, sending.digest, about)
        sending.note(sending.size)
        return True

    def _resume(self, upload: _Upload, digest: Digest) -> bool:
        """Ask how much of an upload has come; returns False if the registry does not know it any more."""
        try:
            response = self._request(f"blob {digest}", "GET", upload.url, ok=(200, 202, 204), is_safe=True)
        except (RegistryError, NotFound):
            return False
        response.read()
        upload.received = _received(response, upload.received)
        upload.url = self._location(response, f"blob {digest}", upload.url)
        return True

    def _was_received(self, digest: Digest, size: int) -> bool:
        """Whether a blob is there after all, as where only the last response was lost."""
        with suppress(RegistryError):
            return self.has_blob(digest, size)
        return False

    def _cancel(self, upload: _Upload, digest: Digest) -> None:
        with suppress(RegistryError, NotFound):
            self._request(f"blob {digest}", "DELETE", upload.url, ok=(200, 202, 204)).read()

    def _location(self, response: Response, about: str, known: str = "") -> str:
        """Where an upload goes on, `known` where that is not said; at the same host, as that is reached."""
        given = response.headers.get("Location", known)
        if not given:
            self._fail(about, "it does not say where the upload goes on", response.status)
        place, here = urlsplit(urljoin(response.url, given)), urlsplit(response.url)
        if place.netloc == here.netloc:  # behind a proxy, registries take themselves to be at http
            place = place._replace(scheme=here.scheme)
        if place.scheme not in ("http", "https") or (here.scheme, place.scheme) == ("https", "http"):
            self._fail(about, "it wants the upload to go on where it is not safe", response.status)
        return place.geturl()

    def _compare(self, response: Response, digest: Digest, about: str) -> None:
        """Raises RegistryError if a registry states another digest of what was written."""
        response.read()
        stated = response.headers.get("Docker-Content-Digest", "")
        if stated.startswith(f"{digest.algorithm}:") and stated != digest:
            why = f"it states another digest, {stated[:160]}, where {digest} was sent"
            self._fail(about, why, response.status)

    def _request(
        self,
        about: str,
        method: str,
        path: str,
        *,
        ok: Sequence[int],
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        scopes: Sequence[str] | None = None,
        is_safe: bool = False,
        follows: bool = True,
        patience: float = 0,
        blob: str | None = None,
    ) -> Response:
        try:
            return self._repository.request(
                method,
                path,
                headers=headers,
                body=body,
                ok=ok,
                scopes=tuple(scopes) if scopes is not None else None,
                is_safe=is_safe,
                follows=follows,
                patience=patience,
                blob=blob,
            )
        except RegistryError as error:
            self._fail(about, str(error), error.status)
        except NotFound as error:
            self._fail(about, str(error), 404)

    def _fail(self, about: str, why: str, status: int = 0) -> NoReturn:
        why = why.removeprefix(f"{self._label}: ")
        known = _WHY.get(status)
        what = ": ".join(filter(None, (self._label, about, known, why)))
        raise RegistryError(what, status) from None


class _Sending:
    """A blob that is read front to back, hashed once, and again from where a registry wants it."""

    def __init__(self, digest: Digest, blob: Blob, advance: Callable[[int], None]) -> None:
        self.digest = digest
        self.size = blob.size
        self._blob = blob
        self._advance = advance
        self._hash = hashlib.new(digest.algorithm)
        self.hashed = self._advanced = 0

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`. Raises Corrupt where the blob is shorter than it said, and ends."""
        self._advance(0)
        data = self._blob.pread(min(size, self.size - offset), offset)
        if len(data) < min(size, self.size - offset):
            raise Corrupt(f"blob {self.digest}: ends at {offset + len(data)} of {self.size} bytes")
        if offset <= self.hashed < offset + len(data):
            self._hash.update(memoryview(data)[self.hashed - offset :])
            self.hashed = offset + len(data)
        return data

    def note(self, received: int) -> None:
        """Report how much has been received."""
        if received > self._advanced:
            self._advance(received - self._advanced)
            self._advanced = received

    def check(self) -> None:
        """Raises Corrupt unless all was read and has the digest."""
        if self.hashed != self.size or self._hash.hexdigest() != self.digest.hex:
            found = f"its {self.hashed} bytes are {self.digest.algorithm}:{self._hash.hexdigest()}"
            raise Corrupt(f"blob {self.digest}: failed to verify, {found}")


def _received(response: Response, default: int) -> int:
    """How many bytes of an upload a registry has; `default` where it does not say."""
    match = _RANGE.fullmatch(response.headers.get("Range", "").strip())
    if match is None:
        return default
    last = int(match[1])
    return last + 1 if last else 0  # distribution says 0-0 of nothing, too
