"""Credentials as podman, skopeo and docker keep them: files in known places, and helpers that these name.

Format: containers/image, containers-auth.json(5); Docker's config.json, whose `credsStore` Docker Desktop uses.
"""

import base64
import binascii
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import UNSET, UnsetType

from imgfs.errors import InvalidImage, StoreError
from imgfs.go_json import parse_json
from imgfs.registry.account import Credentials
from imgfs.registry.credential_helper import CredentialHelper
from imgfs.registry.registries_conf import AUTH_FILES
from imgfs.registry.user_file import read_user_file

_HUB = "docker.io"
_HUB_NAMES = (_HUB, "registry-1.docker.io", "index.docker.io")
_HUB_KEY = "https://index.docker.io/v1/"


class _Entry(msgspec.Struct, rename={"identity_token": "identitytoken"}):
    auth: str | UnsetType = UNSET
    username: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    identity_token: str | UnsetType = UNSET


class _File(msgspec.Struct, rename="camel"):
    # UNSET, as a wrong type is an error
    auths: dict[str, _Entry] | UnsetType = UNSET
    cred_helpers: dict[str, str] | UnsetType = UNSET
    creds_store: str | UnsetType = UNSET


@dataclass(slots=True)
class AuthFile:
    """A file with credentials at `path`, read when it is used; it `is_bare` if it has nothing but the hosts, as before.

    Methods raise StoreError naming the file if it cannot be read.
    """

    path: str
    is_required: bool = False
    is_bare: bool = False
    _kept: _File | None = field(default=None, init=False, repr=False)

    def read(self) -> "_File | None":
        """What is in the file, None if there is none. Raises StoreError."""
        if self._kept is not None:
            return self._kept
        is_file = os.path.isfile(self.path)
        data = read_user_file(self.path, is_required=self.is_required)
        if data is None:
            return None
        content = self._parse(data)
        if not is_file:  # a pipe, as of `--authfile <(...)`, is read once only
            self._kept = content
        return content

    def _parse(self, data: bytes) -> _File:
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
    """Looks credentials up in `helpers`, in their order, of which one stands for `files`, in theirs.

    Helpers are asked again at each call. Safe to use from several threads.
    """

    def __init__(self, files: list[AuthFile], helpers: Sequence[str] = (AUTH_FILES,)) -> None:
        self._files = files
        self._order = helpers
        self._helpers: dict[str, CredentialHelper] = {}

    def find(self, host: str, path: str) -> Credentials | None:
        """What is kept for a repository, None if nothing is. Raises StoreError for a file that cannot be read."""
        for helper in self._order:
            if helper == AUTH_FILES:
                places = (self._in_file(auth_file, host, path) for auth_file in self._files)
                found = next((each for each in places if each is not None), None)
            else:
                found = self._ask(helper, host)
            if found is not None:
                return found
        return None

    def _in_file(self, auth_file: AuthFile, host: str, path: str) -> Credentials | None:
        content = auth_file.read()
        if content is None:
            return None
        auths, helpers = content.auths or {}, content.cred_helpers or {}
        for name in (*_names_of(host), _HUB_KEY) if host in _HUB_NAMES else (host,):
            if helper := helpers.get(name):
                return self._ask(helper, host)
        entries = [auths.get(key) for key in _keys(host, path)] if not auth_file.is_bare else []
        normalised = _normalised(auths, is_bare=auth_file.is_bare)
        entries += [normalised.get(name) for name in _names_of(host)]
        for entry in entries:
            if entry is not None and (found := _credentials(entry, host, auth_file.path)) is not None:
                return found
        return self._ask(content.creds_store, host) if content.creds_store else None

    def _ask(self, name: str, host: str) -> Credentials | None:
        helper = self._helpers.setdefault(name, CredentialHelper(name))
        # docker login and podman login call Docker Hub by different names
        servers = (_HUB_KEY, _HUB) if host in _HUB_NAMES else (host,)
        answers = (helper.get(server) for server in servers)
        return next((each for each in answers if each is not None), None)


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


def _keys(host: str, path: str) -> Iterator[str]:
    """`host/namespace/repository`, `host/namespace`, and so on to `host`."""
    whole = f"{host}/{path}".rstrip("/")
    while whole:
        yield whole
        whole = whole.rpartition("/")[0]


def _normalised(auths: Mapping[str, _Entry], *, is_bare: bool) -> dict[str, _Entry]:
    """The entries by their hosts alone, without what Docker writes before and behind one."""
    found: dict[str, _Entry] = {}
    for key, entry in auths.items():
        scheme, separator, rest = key.partition("://")
        host, slash, _ = (rest if separator and scheme in ("http", "https") else key).partition("/")
        if separator or not slash or is_bare:  # else a path is a namespace
            found.setdefault(host, entry)
    return found


def _credentials(entry: _Entry, host: str, path: str) -> Credentials | None:
    """The credentials in an entry for a host, None for one that is only a marker. Raises StoreError."""
    username, password = entry.username or "", entry.password or ""
    if entry.auth:
        try:
            pair = base64.b64decode("".join(entry.auth.split()), validate=True).decode()
        except (binascii.Error, ValueError):
            raise StoreError(f"{path}: the auth of the entry for {host} is not base64") from None
        username, colon, password = pair.partition(":")
        if not colon:
            raise StoreError(f"{path}: the auth of the entry for {host} has no colon")
    if entry.identity_token:
        return Credentials(username, "", entry.identity_token)
    return Credentials(username, password.rstrip("\0")) if username else None


def given_credentials(text: str) -> Credentials:
    """The credentials written `USER[:PASSWORD]`. Raises StoreError if there is no USER."""
    username, _, password = text.partition(":")
    if not username:
        raise StoreError("credentials are written USER[:PASSWORD], and there is no USER")
    return Credentials(username, password)
