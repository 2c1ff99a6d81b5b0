"""Tags of a repository, and the digest that each leads to, kept in the cache for when the registry cannot be asked.

A registry is asked by HEAD whether a tag leads elsewhere, which registries do not count as pulling; what it says of the
digest is a hint, and what a tag leads to is fetched before that is believed.
Tried by the tests of the source of registries.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec

from imgfs.cache import Cache
from imgfs.digest import Digest
from imgfs.errors import ImgfsError, InvalidDigest, InvalidImage, NotFound, StoreError
from imgfs.go_json import parse_json
from imgfs.registry.client import RemoteRepository
from imgfs.registry.transport import RegistryError, Unreachable
from imgfs.sources.registries import Registries
from imgfs.sources.remote_documents import THREADS, RemoteDocuments

_KIND = "tag"
_LARGEST = 16 << 20
_REFERRERS = re.compile(r"sha256-[0-9a-f]{64}.*")  # the tags of signatures, indexes and the like


class _Record(msgspec.Struct):
    """What is kept of a tag, or of all names that were listed; `time` is in seconds since the epoch."""

    name: str
    digest: str = ""
    listed: list[str] = []
    time: float = 0


def listed_names(cache: Cache, name: str, ask: Callable[[], Iterable[str]] | None) -> Sequence[str]:
    """The names that `ask` returns, which are kept under a name; those that were kept if it is None.

    Raises StoreError if there are none, and what `ask` raises.
    """
    if ask is None:
        return _kept(cache, name).listed
    listed = list(ask())
    _keep(cache, _Record(name, listed=listed, time=time.time()))
    return listed


class RemoteTags:
    """Tags of `repository`: `tag`, or if that is None, all of them but those that only refer to images."""

    def __init__(
        self,
        repository: RemoteRepository,
        documents: RemoteDocuments,
        registries: Registries,
        tag: str | None,
    ) -> None:
        self._repository = repository
        self._documents = documents
        self._cache = registries.cache
        self._is_offline = registries.is_offline
        self._tag = tag
        self.known: Mapping[str, Digest] = {}
        """What each tag led to at the last look."""
        self.problems: Mapping[str, ImgfsError] = {}
        """Why it is not known what listed tags lead to, or no more than what they did before."""

    def look(self) -> Mapping[str, Digest]:
        """What each tag leads to now. Raises RegistryError or NotFound; StoreError if the cache does not have it."""
        if self._tag is not None:
            self.known = {self._tag: self._digest_of(self._tag)}
            return self.known
        listed = listed_names(
            self._cache, self._name("*"), None if self._is_offline else self._repository.tags
        )
        tags = [tag for tag in listed if not _REFERRERS.fullmatch(tag)]
        away: list[Unreachable] = []

        def ask(tag: str) -> Digest | ImgfsError:
            try:
                return away[0] if away else self._digest_of(tag)
            except ImgfsError as error:
                if isinstance(error, Unreachable):  # so are the others
                    away.append(error)
                return error

        with ThreadPoolExecutor(THREADS) as pool:
            found = dict(zip(tags, pool.map(ask, tags), strict=True))
        if away:
            raise away[0]
        before, known, problems = self.known, dict[str, Digest](), dict[str, ImgfsError]()
        for tag, result in found.items():
            if isinstance(result, Digest):
                known[tag] = result
            elif not isinstance(result, NotFound):  # one that has just gone is not there
                problems[tag] = result
                if tag in before:
                    known[tag] = before[tag]
        self.known, self.problems = known, problems
        return known

    def _name(self, tag: str) -> str:
        return f"docker://{self._repository.name}:{tag}"

    def _digest_of(self, tag: str) -> Digest:
        known = self.known.get(tag)
        if known is None:
            try:
                kept = Digest(_kept(self._cache, self._name(tag)).digest)
            except (StoreError, InvalidDigest):
                if self._is_offline:
                    raise
            else:
                known = kept if self._is_offline or self._documents.has(kept) else None
        if known is not None and (self._is_offline or self._stated(tag) == known):
            return known
        digest = self._documents.tagged(tag)
        _keep(self._cache, _Record(self._name(tag), digest=str(digest), time=time.time()))
        return digest

    def _stated(self, tag: str) -> str | None:
        """The digest that the registry states, None if it states none. Raises Unreachable or NotFound."""
        try:
            return self._repository.head(tag)
        except Unreachable as error:
            hint = "" if tag in self.known else " (--offline shows what the cache has)"
            raise Unreachable(f"{error}{hint}") from None
        except NotFound:
            raise
        except RegistryError:  # some refuse to be asked so
            return None


def _kept(cache: Cache, name: str) -> _Record:
    """What was kept under a name. Raises StoreError if there is nothing."""
    file = cache.open(Digest.of(name.encode()), _KIND)
    if file is not None:
        with file:
            data = file.pread(_LARGEST, 0)
        with suppress(InvalidImage):  # what is damaged is not there
            record = parse_json(data, _Record, name)
            if record.name == name:
                return record
    raise StoreError(f"{name}: it is not in the cache, and nothing else is looked into (--offline)")


def _keep(cache: Cache, record: _Record) -> None:
    data = msgspec.json.encode(record)
    cache.keep(Digest.of(record.name.encode()), _KIND, lambda file: file.write(data))
