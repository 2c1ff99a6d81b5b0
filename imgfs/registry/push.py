"""Writing to a repository: blobs in pieces, mounted from another repository or resumed, then manifests.

Format: OCI distribution specification 1.1, "Pushing blobs" and "Pushing manifests". Every byte is hashed as it is sent;
what a registry has received of an upload is what it says at each step, so that one that breaks off goes on from there.
Where a registry refuses pieces, or says something else of them than was sent, it gets blobs whole in one request:
Google's takes no pieces, GitHub's none above 4 MiB, and Amazon's states a stale range.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlencode, urlsplit

from imgfs.blob import Blob
from imgfs.digest import Digest
from imgfs.errors import NotFound
from imgfs.registry.client import RemoteRepository
from imgfs.registry.reference import Repository
from imgfs.registry.sent_blob import SentBlob
from imgfs.registry.transport import RegistryError, Response, web_address

logger = logging.getLogger("imgfs")

_CHUNK = 8 << 20
_MOST_CHUNK = 256 << 20
_SLOWEST = 10 << 20  # bytes a second of a registry that hashes or moves a blob once it has all of it
_BROKEN = (0, 408, 429, 500, 502, 503, 504)
"""Statuses after which an upload may go on; 0 is that of no response."""
_REFUSED = (400, 404, 405, 411, 413, 415, 416, 501)
"""Statuses of registries that do not take a piece, or have another idea of an upload than we have."""
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
        self._takes_pieces = True

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
        sending = SentBlob(digest, blob, advance)
        upload = self._begin(digest, source)
        if upload is None:
            return False
        failures = 0
        while True:
            before = upload.received
            try:
                if self._send(upload, sending):
                    return True
                if upload.received <= before:  # the range that it states is not that of what it has
                    raise _PieceRefused(
                        f"{self._label}: blob {digest}: it states that it has not received a piece"
                    )
                failures = 0
            except _PieceRefused as error:
                logger.info("%s: the blob is sent whole", error)
                self._takes_pieces = False
                self._cancel(upload, digest)
                upload = self._begin(digest) or upload
            except RegistryError as error:
                if error.status == 400:
                    sending.check()  # which may be the reason
                failures += 1
                if error.status not in _BROKEN or failures >= self._repository.limits.attempts:
                    raise
                logger.info("%s: the upload goes on", error)
                time.sleep(min(0.25 * 2**failures, 8))
                if not self._takes_pieces or not self._resume(upload, digest):
                    if self._was_received(digest, sending.size):
                        return True
                    self._cancel(upload, digest)
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

    def _send(self, upload: _Upload, sending: SentBlob) -> bool:
        """Send the next piece, or all; returns whether the blob is there then. Raises _PieceRefused."""
        about, start = f"blob {sending.digest}", upload.received
        is_whole = start == 0 and (sending.size <= upload.chunk or not self._takes_pieces)
        if not is_whole and start < sending.size:
            self._send_piece(upload, sending)
            if upload.received < sending.size:
                return False
        joint = "&" if urlsplit(upload.url).query else "?"
        if not is_whole:
            sending.check()
        response = self._request(
            about,
            "PUT",
            f"{upload.url}{joint}{urlencode({'digest': sending.digest})}",
            headers={"Content-Type": "application/octet-stream"},
            body=sending if is_whole else b"",
            ok=(201, 204),
            patience=sending.size / _SLOWEST,
            blob=sending.digest,
        )
        self._compare(response, sending.digest, about)
        sending.check()
        return True

    def _send_piece(self, upload: _Upload, sending: SentBlob) -> None:
        about, start = f"blob {sending.digest}", upload.received
        if start > sending.hashed:
            raise _PieceRefused(f"{self._label}: {about}: it has more of the upload than was sent")
        data = sending.pread(upload.chunk, start)
        end = start + len(data)
        headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{start}-{end - 1}"}
        try:
            response = self._request(
                about,
                "PATCH",
                upload.url,
                headers=headers,
                body=data,
                ok=(201, 202, 204),
                blob=sending.digest,
            )
        except RegistryError as error:
            if error.status in _REFUSED and self._takes_pieces:
                raise _PieceRefused(str(error), error.status) from None
            raise
        response.read()
        upload.url = self._location(response, about, upload.url)
        upload.received = _received(response, end)

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
        try:
            place, here = urlsplit(web_address(given, response.url)), urlsplit(response.url)
        except RegistryError:
            self._fail(about, "it wants the upload to go on where it is not safe", response.status)
        if place.netloc == here.netloc:  # behind a proxy, registries take themselves to be at http
            place = place._replace(scheme=here.scheme)
        if (here.scheme, place.scheme) == ("https", "http"):
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
        body: bytes | Blob | None = None,
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


class _PieceRefused(RegistryError):
    """A registry does not take a piece of a blob."""


def _received(response: Response, default: int) -> int:
    """How many bytes of an upload a registry has; `default` where it does not say."""
    match = _RANGE.fullmatch(response.headers.get("Range", "").strip())
    if match is None:
        return default
    last = int(match[1])
    return last + 1 if last else 0  # distribution says 0-0 of nothing, too
