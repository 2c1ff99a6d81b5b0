"""Mirrors of registries, and which are insecure or blocked: registries.conf.

Format: containers/image, containers-registries.conf(5), version 2, and the lists of insecure and blocked registries of
version 1. Short names are of no use for whole references.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from imgfs.decoders import converted
from imgfs.errors import StoreError
from imgfs.registry.user_file import is_out_of_reach, read_user_file

AUTH_FILES = "containers-auth.json"
"""Stands in the list of helpers for the files with credentials."""

_SYSTEM = "/etc/containers"


class _MirrorTable(msgspec.Struct, rename="kebab"):
    location: str = ""
    insecure: bool = False
    pull_from_mirror: Literal["", "all", "digest-only", "tag-only"] = ""


class _RegistryTable(msgspec.Struct, rename="kebab"):
    prefix: str = ""
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirror_by_digest_only: bool = False
    mirror: list[_MirrorTable] = []


class _Hosts(msgspec.Struct, frozen=True):
    registries: list[str] = []


class _Version1(msgspec.Struct, frozen=True):
    insecure: _Hosts = _Hosts()
    block: _Hosts = _Hosts()


class _File(msgspec.Struct, rename="kebab"):
    registry: list[_RegistryTable] = []
    credential_helpers: list[str] | None = None
    registries: _Version1 = _Version1()


class Mirror(msgspec.Struct, frozen=True):
    """Another place of a registry's repositories, to be asked for `pulls`: `all`, `digest-only` or `tag-only`."""

    location: str
    is_insecure: bool
    pulls: str


class Registry(msgspec.Struct, frozen=True):
    """What the file at `path` says of the repositories that begin with `prefix`, which lie at `location`.

    Of a prefix `*.HOST`, which is every host below that one, the location may be empty: they lie where they say.
    """

    path: str
    prefix: str
    location: str
    is_insecure: bool = False
    is_blocked: bool = False
    mirrors: Sequence[Mirror] = ()

    def matches(self, name: str) -> bool:
        """Whether a repository, `HOST/PATH`, is meant."""
        if self.prefix.startswith("*."):
            return _without_port(name.partition("/")[0]).endswith(self.prefix[1:])
        return name == self.prefix or name.startswith(f"{self.prefix}/")

    def moved(self, name: str, location: str) -> str:
        """The name of a repository at a location. Of `*.HOST`, a port stays, as podman has it."""
        if not location:
            return name
        if self.prefix.startswith("*."):
            return location + name[len(_without_port(name.partition("/")[0])) :]
        return location + name[len(self.prefix) :]


class RegistriesConf:
    """What some files say. Credentials are looked up in `helpers`, in their order."""

    def __init__(self, registries: Iterable[Registry] = (), helpers: Sequence[str] = (AUTH_FILES,)) -> None:
        # the longest prefix decides
        self._registries = sorted(registries, key=lambda each: len(each.prefix), reverse=True)
        self.helpers = helpers

    def find(self, name: str) -> Registry | None:
        """What is said of a repository, `HOST/PATH`; None if nothing is."""
        return next((each for each in self._registries if each.matches(name)), None)


def read_registries_conf(
    environment: Mapping[str, str] = os.environ, system: str = _SYSTEM
) -> RegistriesConf:
    """What the files say that podman and skopeo read; `system` is the folder of the machine's.

    Later files replace tables of earlier ones with the same prefix. Raises StoreError naming a file that is wrong.
    """
    found: dict[str, Registry] = {}
    helpers: Sequence[str] = ()
    only = environment.get("CONTAINERS_REGISTRIES_CONF") or environment.get("REGISTRIES_CONFIG_PATH")
    for path in _paths(environment, system, only):
        document = _read(path, is_required=path == only)
        own: dict[str, Registry] = {}
        for each in _registries(document, path):
            own.setdefault(each.prefix, each)
        found |= own
        if document.credential_helpers is not None:
            helpers = document.credential_helpers
    return RegistriesConf(found.values(), helpers or (AUTH_FILES,))


def _paths(environment: Mapping[str, str], system: str, only: str | None) -> list[str]:
    # podman does not look at XDG_CONFIG_HOME here
    user = f"{environment.get('HOME') or os.path.expanduser('~')}/.config/containers"
    own = f"{user}/registries.conf"
    if only:
        return [only, *_below(system), *_below(user)]
    if os.path.exists(own):
        return [own, *_below(user)]
    return [f"{system}/registries.conf", *_below(system), *_below(user)]


def _below(folder: str) -> list[str]:
    """The files in the folder `registries.conf.d` of a folder."""
    folder = f"{folder}/registries.conf.d"
    try:
        return [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if name.endswith(".conf")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        if is_out_of_reach(error, folder):
            return []
        raise StoreError(f"{folder}: {error.strerror}") from None


def _read(path: str, *, is_required: bool) -> _File:
    data = read_user_file(path, is_required=is_required) or b""
    try:
        return converted(tomllib.loads(data.decode()), _File)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise StoreError(f"{path}: {error}") from None
    except RecursionError:
        raise StoreError(f"{path}: nested too deeply") from None


def _registries(document: _File, path: str) -> list[Registry]:
    tables = [_registry(table, path) for table in document.registry]
    blocked = document.registries.block.registries
    insecure = document.registries.insecure.registries
    return tables + [
        Registry(path, host, host, is_insecure=host in insecure, is_blocked=host in blocked)
        for host in dict.fromkeys([*blocked, *insecure])
    ]


def _registry(table: _RegistryTable, path: str) -> Registry:
    location = _place(table.location, path)
    prefix = _place(table.prefix, path) or location
    is_wildcard = prefix.startswith("*.")
    if not prefix or (not location and not is_wildcard):
        raise StoreError(f"{path}: a [[registry]] has no location")
    if is_wildcard and any(sign in prefix for sign in "/@:"):
        raise StoreError(f"{path}: {prefix!r} is more than *.HOST")
    usual = "digest-only" if table.mirror_by_digest_only else "all"
    mirrors = []
    for mirror in table.mirror:
        if not mirror.location:
            raise StoreError(f"{path}: a [[registry.mirror]] of {prefix} has no location")
        if table.mirror_by_digest_only and mirror.pull_from_mirror:
            raise StoreError(f"{path}: {prefix}: pull-from-mirror has no place beside mirror-by-digest-only")
        where = _place(mirror.location, path)
        mirrors.append(Mirror(where, mirror.insecure, mirror.pull_from_mirror or usual))
    return Registry(path, prefix, location, table.insecure, table.blocked, mirrors)


def _place(text: str, path: str) -> str:
    if text.startswith(("http://", "https://")):
        raise StoreError(f"{path}: {text!r}: a location is written without http:// or https://")
    return text.rstrip("/")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
