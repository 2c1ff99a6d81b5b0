"""What registries hold: manifests, tags, referrers and blobs, asked for at the mirrors and then at the registry itself.

Format: OCI distribution specification 1.1. What a registry says of a digest is a hint; what it sends is hashed here.
Tried by the tests of the client.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from imgfs.blob import Blob
from imgfs.cache.cache import Cache
from imgfs.digest import Digest
from imgfs.errors import Corrupt, ImgfsError, InvalidDigest, InvalidImage, NotFound
from imgfs.go_json import parse_json
from imgfs.registry.configuration import Configuration, Endpoint
from imgfs.registry.reference import Repository, is_tag
from imgfs.registry.remote_blob import RemoteBlob
from imgfs.registry.session import Request, Session
from imgfs.registry.stats import Stats
from imgfs.registry.tokens import Scopes
from imgfs.registry.transport import Limits, RegistryError, Response, Transport, web_address
from imgfs.registry.whole_blob import KIND, SMALL

MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""What is asked for. A registry that has another type must not be given a choice, or it converts."""
_INDEX = MANIFEST_TYPES[0]
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"

_LARGEST_MANIFEST = 4 << 20
_LARGEST_LIST = 16 << 20
_PAGE = 1000  # names that are asked for at a time
_MOST_PAGES = 1000
_LIST_PATIENCE = 10  # times the patience for one request, for all pages of a list
_MOST_NAMES = 200_000
_NEXT = re.compile(r"<([^>]*)>\s*;[^,]*\brel=\"?next\"?", re.IGNORECASE)

logger = logging.getLogger("imgfs")

T = TypeVar("T")


class _Tags(msgspec.Struct):
    tags: list[msgspec.Raw] | None = None


class _Catalog(msgspec.Struct):
    repositories: list[msgspec.Raw] | None = None


class _Index(msgspec.Struct):
    manifests: list[msgspec.Raw] | None = None


class _MediaType(msgspec.Struct, rename="camel"):
    media_type: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """A manifest or an index as a registry has sent it, verified if it was asked for by its digest."""

    digest: Digest
    media_type: str
    data: bytes


class RegistryClient:
    """Talks to registries. Makes connections when they are needed. Safe to use from several threads.

    Small blobs are kept in `cache`. Credentials, mirrors and certificates are as `configuration` has them. Nothing is
    asked if it `is_offline`.
    """

    def __init__(
        self,
        configuration: Configuration,
        stats: Stats | None = None,
        cache: Cache | None = None,
        limits: Limits | None = None,
        *,
        is_offline: bool = False,
    ) -> None:
        self.configuration = configuration
        self._is_offline = is_offline
        self.stats = stats or Stats()
        self.cache = cache
        self.limits = limits or Limits()
        self._transport = Transport(configuration, self.stats, self.limits)
        self._lock = Lock()
        self._sessions: dict[tuple[str, bool], Session] = {}

    def repository(self, repository: Repository) -> "RemoteRepository":
        """A repository, which need not exist. Nothing is asked yet."""
        return RemoteRepository(self, repository)

    def catalog(self, host: str) -> Iterator[str]:
        """The repositories of a registry, as far as it lists them. Raises RegistryError if it lists none."""
        (*_, endpoint) = self.configuration.endpoints(Repository(host, "catalog"), by_digest=False)
        request = Request(endpoint, "GET", f"/v2/_catalog?n={_PAGE}", ("registry:catalog:*",))
        count = 0
        try:
            for page in self.pages(request, _Catalog, "the catalog"):
                count += len(page.repositories or ())
                if count > _MOST_NAMES:
                    raise RegistryError(f"more than {_MOST_NAMES} repositories are too many")
                for raw in page.repositories or ():
                    name = _text(raw)
                    if name:
                        yield name
        except RegistryError as error:
            raise RegistryError(
                f"docker://{host}/: it does not list its repositories: {error}", error.status
            ) from None

    def send(self, request: Request) -> Response:
        """The response to a request. Raises RegistryError, whose message is the cause alone."""
        if self._is_offline:
            raise RegistryError("it is not in the cache, and nothing else is looked into (--offline)")
        endpoint = request.endpoint
        with self._lock:
            key = endpoint.host, endpoint.is_insecure
            session = self._sessions.get(key)
            if session is None:
                session = self._sessions[key] = Session(
                    self._transport, endpoint.host, is_insecure=endpoint.is_insecure
                )
        return session.request(request)

    def pages(self, first: Request, kind: type[T], name: str) -> Iterator[T]:
        """The pages of a list called `name`. Raises as `responses` does, and for one that does not parse."""
        for response in self.responses(first, name):
            try:
                yield parse_json(response.read(_LARGEST_LIST), kind, name)
            except InvalidImage as error:
                raise RegistryError(str(error), response.status) from None

    def responses(self, first: Request, name: str) -> Iterator[Response]:
        """Unread pages of a list, which follow each other by `Link`. Raises as `send` does, and if there is no end."""
        path: str | None = first.path
        seen = set[str]()
        ends = time.monotonic() + _LIST_PATIENCE * self.limits.patience
        while path is not None:
            if len(seen) == _MOST_PAGES or time.monotonic() > ends:
                raise RegistryError(f"{name} does not end within {len(seen)} pages")
            seen.add(path)
            response = self.send(replace(first, path=path))
            path = _next_page(response)
            yield response
            if path in seen:
                host = first.endpoint.host
                logger.warning("%s: %s may be incomplete: one page leads back to another", host, name)
                return

    def close(self) -> None:
        """Close connections that are idle. Blobs that are read later open new ones."""
        self._transport.close()


class RemoteRepository:
    """A repository of a registry, and of its mirrors. Safe to use from several threads.

    Methods raise RegistryError, NotFound where something is not there, and StoreError where the registry is blocked;
    each names the repository.
    """

    def __init__(self, client: RegistryClient, repository: Repository) -> None:
        self.name = repository
        self._client = client

    def manifest(self, reference: str) -> Manifest:
        """The manifest or index with a tag or a digest. Raises Corrupt if it is another one."""
        is_digest = not is_tag(reference)
        label = f"{self._label}{'@' if is_digest else ':'}{reference}"
        headers = {"Accept": ", ".join(MANIFEST_TYPES)}

        def fetch(endpoint: Endpoint) -> Manifest:
            request = self._read(endpoint, f"manifests/{reference}", headers)
            response = self._client.send(request)
            kind = _kind(response)
            data = response.read(_LARGEST_MANIFEST)
            if kind.startswith(_SCHEMA_1):
                raise RegistryError(
                    "its manifest has the format of 2014 (schema 1), which imgfs does not read"
                )
            digest = Digest(reference) if is_digest else Digest.of(data)
            if is_digest and not digest.is_of(data):
                raise Corrupt(f"{label}: failed to verify, what {endpoint.host} sent is another manifest")
            inner = _media_type_in(data)
            if inner and kind and inner != kind and kind in MANIFEST_TYPES:
                raise RegistryError(f"its manifest is of type {inner[:120]} and is sent as {kind[:120]}")
            return Manifest(digest, inner or kind, data)

        return self._anywhere(label, fetch, by_digest=is_digest)

    def head(self, tag: str) -> str | None:
        """The digest that the registry states for a tag, None if it states none. A hint that the tag has moved."""
        headers = {"Accept": ", ".join(MANIFEST_TYPES)}

        def ask(endpoint: Endpoint) -> str | None:
            request = self._read(endpoint, f"manifests/{tag}", headers, method="HEAD")
            response = self._client.send(request)
            response.close(is_whole=True)
            return response.headers.get("Docker-Content-Digest")

        return self._anywhere(f"{self._label}:{tag}", ask, by_digest=False)

    def tags(self) -> Iterator[str]:
        """All tags, in the order of the registry; what is no tag is left out."""
        yield from self._anywhere(self._label, self._list_tags, by_digest=False)

    def referrers(self, digest: Digest, artifact_type: str) -> list[dict[str, Any]]:
        """The descriptors of what refers to a manifest and is of a type; none where there is nothing.

        They are what the referrers API lists, or where there is none, the index tagged `ALGORITHM-HEX`.
        """

        def ask(endpoint: Endpoint) -> list[dict[str, Any]]:
            found = self._list_referrers(endpoint, digest, artifact_type)
            if found is None:
                found = self._tagged_referrers(endpoint, digest)
            return [each for each in found if each.get("artifactType") == artifact_type]

        return self._anywhere(f"{self._label}@{digest}", ask, by_digest=True)

    def tagged_referrers(self, digest: Digest) -> list[dict[str, Any]]:
        """The descriptors in the index that stands in for a list of what refers to a manifest; no mirror is asked."""
        (*_, primary) = self._endpoints(by_digest=False)
        try:
            return self._tagged_referrers(primary, digest)
        except RegistryError as error:
            raise _named(error, f"{self._label}:{referrers_tag(digest)}") from None

    def blob(self, digest: Digest, size: int) -> RemoteBlob:
        """A blob of `size` bytes. Nothing is asked before it is read."""
        label = f"{self._label}: blob {digest}"

        def ask(wanted: str | None) -> Response:
            headers = {"Range": wanted} if wanted else {}

            def send(endpoint: Endpoint) -> Response:
                ok = (200, 206) if wanted else (200,)
                request = self._read(endpoint, f"blobs/{digest}", headers, ok=ok, blob=digest)
                return self._client.send(request)

            try:
                return self._anywhere(label, send, by_digest=True)
            except NotFound as error:  # the manifest that names it is there
                raise RegistryError(str(error), 404) from None

        return RemoteBlob(digest, size, label, ask, self._client.cache, self._client.limits)

    def read(self, digest: Digest, size: int) -> bytes:
        """A blob whole, verified and kept in the cache. Raises Corrupt if it is another one."""
        cache = self._client.cache
        kept = cache.open(digest, KIND) if cache is not None else None
        if kept is not None:
            with kept:
                data = kept.pread(size + 1, 0)
            if digest.is_of(data):
                return data
        with self.blob(digest, size) as blob:
            data = blob.pread(size, 0)
        if not digest.is_of(data):
            raise Corrupt(f"{self._label}: blob {digest}: failed to verify, what was sent is another blob")
        if cache is not None and size >= SMALL:  # a smaller one is kept by then
            cache.keep(digest, KIND, lambda file: file.write(data))
        return data

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Blob | None = None,
        ok: Sequence[int] = (200,),
        scopes: Scopes | None = None,
        is_safe: bool = False,
        follows: bool = True,
        patience: float = 0,
        blob: str | None = None,
    ) -> Response:
        """Ask the registry itself, no mirror, for what changes it: `path` is below the repository, or a whole URL.

        A token for it allows pulling and pushing unless `scopes` are given. A request that is not `is_safe` is not sent
        again, but after a 401 or a 429.
        """
        endpoint = self._client.configuration.push_endpoint(self.name)
        whole = path if "://" in path or path.startswith("/") else f"/v2/{endpoint.path}/{path}"
        wanted = (f"repository:{endpoint.path}:pull,push",) if scopes is None else scopes
        request = Request(
            endpoint, method, whole, wanted, headers or {}, body, ok, is_safe, follows, blob, patience
        )
        try:
            return self._client.send(request)
        except RegistryError as error:
            raise _named(error, self._label) from None

    @property
    def limits(self) -> Limits:
        """How long the registry may take, and how often it is tried."""
        return self._client.limits

    @property
    def cache(self) -> Cache | None:
        """The cache of the client."""
        return self._client.cache

    @property
    def _label(self) -> str:
        return f"docker://{self.name}"

    def _endpoints(self, *, by_digest: bool) -> Sequence[Endpoint]:
        return self._client.configuration.endpoints(self.name, by_digest=by_digest)

    def _read(
        self,
        endpoint: Endpoint,
        path: str,
        headers: Mapping[str, str],
        *,
        method: str = "GET",
        ok: Sequence[int] = (200,),
        blob: str | None = None,
    ) -> Request:
        url = f"/v2/{endpoint.path}/{quote(path, safe='/:')}"
        return Request(endpoint, method, url, _pull(endpoint), headers, None, ok, blob=blob)

    def _anywhere(self, label: str, ask: Callable[[Endpoint], T], *, by_digest: bool) -> T:
        """What `ask` returns for the first place that has it. Raises what the registry itself raises."""
        *mirrors, primary = self._endpoints(by_digest=by_digest)
        for mirror in mirrors:
            try:
                return ask(mirror)
            except ImgfsError as error:
                logger.info("%s: mirror %s: %s", label, mirror.host, error)
        try:
            return ask(primary)
        except RegistryError as error:
            raise _named(error, label) from None

    def _list_tags(self, endpoint: Endpoint) -> list[str]:
        request = Request(endpoint, "GET", f"/v2/{endpoint.path}/tags/list?n={_PAGE}", _pull(endpoint))
        found: dict[str, None] = {}
        for page in self._client.pages(request, _Tags, "the list of tags"):
            found.update((text, None) for raw in page.tags or () if is_tag(text := _text(raw)))
            if len(found) > _MOST_NAMES:
                raise RegistryError(f"more than {_MOST_NAMES} tags are too many")
        return list(found)

    def _list_referrers(
        self, endpoint: Endpoint, digest: Digest, artifact_type: str
    ) -> list[dict[str, Any]] | None:
        """What the referrers API lists, None where there is none: pages for people and redirects are no answer."""
        path = f"/v2/{endpoint.path}/referrers/{digest}?{urlencode({'artifactType': artifact_type})}"
        request = Request(endpoint, "GET", path, _pull(endpoint), {"Accept": _INDEX}, follows=False)
        found: list[dict[str, Any]] = []
        try:
            for response in self._client.responses(request, "the list of referrers"):
                if _kind(response) != _INDEX:
                    response.close()
                    return None
                found += _descriptors(response.read(_LARGEST_LIST), "the list of referrers")
                if len(found) > _MOST_NAMES:
                    raise RegistryError(f"more than {_MOST_NAMES} referrers are too many")
        except RegistryError as error:
            if error.status:
                return None
            raise
        return found

    def _tagged_referrers(self, endpoint: Endpoint, digest: Digest) -> list[dict[str, Any]]:
        """What the index lists that stands in for the API. Distribution specification, "Referrers Tag Schema"."""
        request = self._read(endpoint, f"manifests/{referrers_tag(digest)}", {"Accept": _INDEX})
        try:
            response = self._client.send(request)
        except RegistryError as error:
            if error.status in (401, 403, 404):
                return []
            raise
        if _kind(response) != _INDEX:
            response.close()
            return []
        return _descriptors(response.read(_LARGEST_MANIFEST), "the index of referrers")


def referrers_tag(digest: Digest) -> str:
    """The tag of the index that lists what refers to a manifest, where a registry has no API for that."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def _pull(endpoint: Endpoint) -> Scopes:
    """What a token has to allow for reading."""
    return (f"repository:{endpoint.path}:pull",)


def _next_page(response: Response) -> str | None:
    """The URL of the page after a response, None if there is none.

    Only the path of a link counts, as for podman: registries behind a proxy may give an address of their own.
    """
    for line in response.header_lines("Link"):
        match = _NEXT.search(line[:8192])
        if match is not None:
            after = urlsplit(web_address(match[1], response.url))
            return urlunsplit((*urlsplit(response.url)[:2], after.path, after.query, ""))
    return None


def _kind(response: Response) -> str:
    """The type of a response without its parameters."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _media_type_in(data: bytes) -> str:
    """The type that a manifest states of itself, empty if it states none or does not parse."""
    try:
        return parse_json(data, _MediaType, "manifest").media_type.partition(";")[0].strip().lower()
    except InvalidImage:
        return ""


def _descriptors(data: bytes, name: str) -> list[dict[str, Any]]:
    try:
        listed = parse_json(data, _Index, name).manifests or []
        found = [parse_json(raw, dict[str, Any], name) for raw in listed]
    except InvalidImage as error:
        raise RegistryError(str(error)) from None
    return [each for each in found if _has_digest(each)]


def _has_digest(descriptor: Mapping[str, Any]) -> bool:
    try:
        Digest(str(descriptor.get("digest")))
    except InvalidDigest:
        return False
    return True


def _text(raw: msgspec.Raw) -> str:
    """A name in a list, empty where something else stands there."""
    try:
        found = parse_json(raw, str, "name")
    except InvalidImage:
        return ""
    return found if len(found) < 512 else ""


def _named(error: RegistryError, label: str) -> ImgfsError:
    """The error with what it is about before it."""
    why = str(error)
    text = why if why.startswith(label) else f"{label}: {why}"
    if error.status == 404:
        return NotFound(text)
    return RegistryError(text, error.status) if type(error) is RegistryError else type(error)(text)
