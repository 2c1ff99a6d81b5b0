"""Mirrors of registries, and which are insecure or blocked: registries.conf.

Format: containers/image, containers-registries.conf(5), version 2. Short names are of no use for whole references.
"""

import glob
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from imgfs.errors import StoreError

_LARGEST = 4 << 20
_Table = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Mirror:
    """Another place of a registry's repositories, to be asked for `pulls`: `all`, `digest-only` or `tag-only`."""

    location: str
    is_insecure: bool
    pulls: str


@dataclass(frozen=True, slots=True)
class Registry:
    """What is said of the repositories that begin with `prefix`, which lie at `location`."""

    prefix: str
    location: str
    is_insecure: bool
    is_blocked: bool
    mirrors: Sequence[Mirror]

    def matches(self, name: str) -> bool:
        """Whether a repository, `HOST/PATH`, is meant; a prefix `*.HOST` is any host below that one."""
        if self.prefix.startswith("*."):
            host, _, path = self.prefix.partition("/")
            own, _, rest = name.partition("/")
            is_below = own.partition(":")[0].endswith(host[1:]) or own.endswith(host[1:])
            return is_below and (not path or rest == path or rest.startswith(f"{path}/"))
        return name == self.prefix or name.startswith(f"{self.prefix}/")

    def moved(self, name: str, location: str) -> str:
        """The name of a repository at a location."""
        if self.prefix.startswith("*."):
            return name if not location else f"{location}/{name.partition('/')[2]}"
        return location + name[len(self.prefix) :]


class RegistriesConf:
    """The tables of some files, later ones in place of earlier ones with the same prefix."""

    def __init__(self, registries: Mapping[str, Registry]) -> None:
        # the longest prefix decides
        self._registries = sorted(registries.values(), key=lambda each: len(each.prefix), reverse=True)

    def find(self, name: str) -> Registry | None:
        """What is said of a repository, `HOST/PATH`; None if nothing is."""
        return next((each for each in self._registries if each.matches(name)), None)


def read_registries_conf(environment: Mapping[str, str] = os.environ) -> RegistriesConf:
    """What the files say that podman and skopeo read. Raises StoreError naming a file that is wrong."""
    found: dict[str, Registry] = {}
    for path, is_required in _files(environment):
        for table in _tables(_read(path, is_required=is_required), path):
            registry = _registry(table, path)
            found[registry.prefix] = registry
    return RegistriesConf(found)


def _files(environment: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    only = environment.get("CONTAINERS_REGISTRIES_CONF") or environment.get("REGISTRIES_CONFIG_PATH")
    if only:
        yield only, True
        return
    home = environment.get("HOME") or os.path.expanduser("~")
    user = f"{environment.get('XDG_CONFIG_HOME') or f'{home}/.config'}/containers"
    own = f"{user}/registries.conf"
    yield (own if os.path.exists(own) else "/etc/containers/registries.conf"), False
    for folder in ("/etc/containers", user):
        yield from (
            (path, False) for path in sorted(glob.glob(f"{glob.escape(folder)}/registries.conf.d/*.conf"))
        )


def _read(path: str, *, is_required: bool) -> _Table:
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        if is_required:
            raise StoreError(f"{path}: there is no such file") from None
        return {}
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise StoreError(f"{path}: too large for a list of registries")
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"{path}: {error}") from None


def _tables(document: _Table, path: str) -> list[_Table]:
    tables = document.get("registry", [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise StoreError(f"{path}: its registry tables are written [[registry]]")
    return tables


def _registry(table: _Table, path: str) -> Registry:
    location = _text(table, "location", path)
    prefix = _text(table, "prefix", path) or location
    if not prefix or (not location and not prefix.startswith("*.")):
        raise StoreError(f"{path}: a [[registry]] has no location")
    mirrors = table.get("mirror", [])
    if not isinstance(mirrors, list) or not all(isinstance(each, dict) for each in mirrors):
        raise StoreError(f"{path}: the mirrors of {prefix} are written [[registry.mirror]]")
    only = "digest-only" if _flag(table, "mirror-by-digest-only", path) else "all"
    return Registry(
        prefix.rstrip("/"),
        location.rstrip("/"),
        _flag(table, "insecure", path),
        _flag(table, "blocked", path),
        [_mirror(each, path, only) for each in mirrors],
    )


def _mirror(table: _Table, path: str, usual: str) -> Mirror:
    location = _text(table, "location", path)
    pulls = _text(table, "pull-from-mirror", path) or usual
    if not location or pulls not in ("all", "digest-only", "tag-only"):
        raise StoreError(
            f"{path}: a [[registry.mirror]] without a location, or with an unknown pull-from-mirror"
        )
    return Mirror(location.rstrip("/"), _flag(table, "insecure", path), pulls)


def _text(table: _Table, key: str, path: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise StoreError(f"{path}: {key} is not a text")
    return value


def _flag(table: _Table, key: str, path: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise StoreError(f"{path}: {key} is neither true nor false")
    return value
