"""Credentials as podman, skopeo and docker keep them: files in known places, and helpers that these name.

Format: containers/image, containers-auth.json(5); Docker's config.json, whose `credsStore` Docker Desktop uses.
"""

import base64
import binascii
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from imgfs.errors import InvalidImage, StoreError
from imgfs.go_json import parse_json
from imgfs.registry.account import Credentials
from imgfs.registry.credential_helper import CredentialHelper

_LARGEST = 8 << 20  # bytes of a file
_HUB = "docker.io"
_HUB_NAMES = (_HUB, "registry-1.docker.io", "index.docker.io")
_HUB_KEY = "https://index.docker.io/v1/"


class _Entry(msgspec.Struct, rename={"identity_token": "identitytoken"}):
    auth: str = ""
    username: str = ""
    password: str = ""
    identity_token: str = ""


class _File(msgspec.Struct, rename="camel"):
    auths: dict[str, _Entry] = {}
    cred_helpers: dict[str, str] = {}
    creds_store: str = ""


@dataclass(frozen=True, slots=True)
class AuthFile:
    """A file with credentials at `path`, read when it is used; it `is_bare` if it has nothing but the hosts, as before.

    Methods raise StoreError naming the file if it cannot be read.
    """

    path: str
    is_required: bool = False
    is_bare: bool = False

    def read(self) -> "_File | None":
        """What is in the file, None if there is none. Raises StoreError."""
        try:
            with open(self.path, "rb") as file:
                if stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
                    raise StoreError(f"{self.path}: a directory, not a file with credentials")
                data = file.read(_LARGEST + 1)
        except (FileNotFoundError, NotADirectoryError):
            if self.is_required:
                raise StoreError(f"{self.path}: there is no such file with credentials") from None
            return None
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from None
        if len(data) > _LARGEST:
            raise StoreError(f"{self.path}: too large for a file with credentials")
        try:
            if not data.strip():
                return _File()
            if self.is_bare:
                return _File(auths=parse_json(data, dict[str, _Entry], self.path))
            return parse_json(data, _File, self.path)
        except InvalidImage:
            # what does not parse may be a secret
            raise StoreError(f"{self.path}: not a JSON file with credentials") from None


class CredentialStore:
    """Looks credentials up in `files`, in their order. `helpers` are asked before and after, as registries.conf says.

    Helpers are asked again at each call. Safe to use from several threads.
    """

    def __init__(self, files: list[AuthFile]) -> None:
        self._files = files
        self._helpers: dict[str, CredentialHelper] = {}

    def find(self, host: str, path: str) -> Credentials | None:
        """What is kept for a repository, None if nothing is. Raises StoreError for a file that cannot be read."""
        for auth_file in self._files:
            content = auth_file.read()
            if content is None:
                continue
            found = self._in_file(content, auth_file, host, path)
            if found is not None:
                return found
        return None

    def _in_file(self, content: _File, auth_file: AuthFile, host: str, path: str) -> Credentials | None:
        for name in _names_of(host):
            if helper := content.cred_helpers.get(name):
                return self._helper(helper).get(_server(host))
        if not auth_file.is_bare:
            for key in _keys(host, path):
                entry = content.auths.get(key)
                if entry is not None and (found := _credentials(entry, auth_file.path)) is not None:
                    return found
        normalised = _normalised(content.auths)
        for name in _names_of(host):
            entry = normalised.get(name)
            if entry is not None and (found := _credentials(entry, auth_file.path)) is not None:
                return found
        return self._helper(content.creds_store).get(_server(host)) if content.creds_store else None

    def _helper(self, name: str) -> CredentialHelper:
        return self._helpers.setdefault(name, CredentialHelper(name))


def usual_files(environment: Mapping[str, str] = os.environ) -> list[AuthFile]:
    """Where credentials are kept if nothing else is said, in order; `environment` is that of the process."""
    only = environment.get("REGISTRY_AUTH_FILE")
    if only:
        return [AuthFile(only, is_required=True)]
    home = environment.get("HOME") or os.path.expanduser("~")
    runtime = environment.get("XDG_RUNTIME_DIR")
    first = f"{runtime}/containers/auth.json" if runtime else f"/run/containers/{os.geteuid()}/auth.json"
    config = environment.get("XDG_CONFIG_HOME") or f"{home}/.config"
    docker = environment.get("DOCKER_CONFIG") or f"{home}/.docker"
    return [
        AuthFile(first),
        AuthFile(f"{config}/containers/auth.json"),
        AuthFile(f"{docker}/config.json"),
        AuthFile(f"{home}/.dockercfg", is_bare=True),
    ]


def _names_of(host: str) -> tuple[str, ...]:
    return _HUB_NAMES if host in _HUB_NAMES else (host,)


def _server(host: str) -> str:
    """How helpers are asked for a host."""
    return _HUB_KEY if host in _HUB_NAMES else host


def _keys(host: str, path: str) -> Iterator[str]:
    """`host/namespace/repository`, `host/namespace`, and so on to `host`."""
    whole = f"{host}/{path}".rstrip("/")
    while whole:
        yield whole
        whole = whole.rpartition("/")[0]


def _normalised(auths: Mapping[str, _Entry]) -> dict[str, _Entry]:
    """The entries by their hosts alone, without what Docker writes before and behind one."""
    found: dict[str, _Entry] = {}
    for key, entry in auths.items():
        scheme, separator, rest = key.partition("://")
        host, slash, _ = (rest if separator and scheme in ("http", "https") else key).partition("/")
        if separator or not slash:  # without a scheme, a path is a namespace
            found.setdefault(host, entry)
    return found


def _credentials(entry: _Entry, path: str) -> Credentials | None:
    """The credentials in an entry, None for one that is only a marker. Raises StoreError."""
    if entry.identity_token:
        return Credentials(entry.username, "", entry.identity_token)
    if entry.username:
        return Credentials(entry.username, entry.password)
    if not entry.auth:
        return None
    try:
        pair = base64.b64decode(entry.auth, validate=True).decode()
    except (binascii.Error, ValueError):
        raise StoreError(f"{path}: an entry whose auth is not base64") from None
    username, colon, password = pair.partition(":")
    if not colon:
        raise StoreError(f"{path}: an entry whose auth has no colon")
    return Credentials(username, password.rstrip("\0"))


def given_credentials(text: str) -> Credentials:
    """The credentials written `USER[:PASSWORD]`."""
    username, _, password = text.partition(":")
    return Credentials(username, password)
