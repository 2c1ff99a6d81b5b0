"""How registries are reached: through which mirrors and proxies, with which credentials and certificates.

What the command line says goes before what files say, which are those of podman, skopeo and docker. Signatures, and so
registries.d, are not looked at.
"""

import ssl
from collections.abc import Sequence
from threading import Lock
from typing import Self

import msgspec

from imgfs.errors import StoreError
from imgfs.registry.account import Credentials
from imgfs.registry.credentials import AuthFile, CredentialStore, given_credentials, usual_files
from imgfs.registry.proxies import proxy_for
from imgfs.registry.reference import Repository
from imgfs.registry.registries_conf import Mirror, RegistriesConf, Registry, read_registries_conf
from imgfs.registry.tls import tls_context, usual_folder

__all__ = ["Configuration", "Credentials", "Endpoint"]


class Endpoint(msgspec.Struct, frozen=True):
    """Where a repository may be asked for: its `path` at `host`, not verified if it `is_insecure`.

    It `is_elsewhere` if that is not the host that the user named, as of a mirror.
    """

    host: str
    path: str
    is_insecure: bool
    is_elsewhere: bool


class Configuration:
    """What a command was told of registries, and what files say. Safe to use from several threads."""

    def __init__(
        self,
        registries: RegistriesConf,
        store: CredentialStore,
        *,
        tls_verify: bool | None = None,
        cert_dir: str | None = None,
        creds: Credentials | None = None,
    ) -> None:
        self._registries = registries
        self._store = store
        self._tls_verify = tls_verify
        self._cert_dir = cert_dir
        self._creds = creds
        self._lock = Lock()
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}

    @classmethod
    def load(
        cls,
        *,
        authfile: str | None = None,
        tls_verify: bool | None = None,
        cert_dir: str | None = None,
        creds: str | None = None,
    ) -> Self:
        """Read registries.conf and the file with credentials that was named; others are read when they are needed.

        The arguments are what the options of these names were given. Raises StoreError naming a file that is wrong.
        """
        files = [AuthFile(authfile, is_required=True)] if authfile is not None else usual_files()
        for auth_file in files:
            if auth_file.is_required:
                auth_file.read()
        registries = read_registries_conf()
        return cls(
            registries,
            CredentialStore(files, registries.helpers),
            tls_verify=tls_verify,
            cert_dir=cert_dir,
            creds=given_credentials(creds) if creds is not None else None,
        )

    def endpoints(self, repository: Repository, *, by_digest: bool) -> Sequence[Endpoint]:
        """Where to ask for a repository: mirrors, and the registry itself last. Raises StoreError if it is blocked.

        `by_digest` says that what is asked for is named by a digest, which not every mirror is asked for otherwise.
        """
        found = self._find(str(repository))
        if found is None:
            return [self._endpoint(str(repository), repository, is_insecure=False)]
        mirrors = [
            self._endpoint(moved, repository, is_insecure=mirror.is_insecure)
            for mirror in found.mirrors
            if _may_ask(mirror, by_digest=by_digest)
            and not self._is_blocked(moved := found.moved(str(repository), mirror.location))
        ]
        location = found.moved(str(repository), found.location)
        self._find(location)
        return [*mirrors, self._endpoint(location, repository, is_insecure=found.is_insecure)]

    def push_endpoint(self, repository: Repository) -> Endpoint:
        """Where a repository is changed: where its name says, as podman does. Raises StoreError if it is blocked."""
        found = self._find(str(repository))
        return self._endpoint(
            str(repository), repository, is_insecure=found is not None and found.is_insecure
        )

    def credentials(self, endpoint: Endpoint) -> Credentials | None:
        """What is kept for an endpoint, None if nothing is. Runs helpers and reads files again at each call.

        Credentials of the command line are for the host that was named alone, never for a mirror. Raises StoreError
        naming a file that cannot be read.
        """
        if self._creds is not None and not endpoint.is_elsewhere:
            return self._creds
        return self._store.find(endpoint.host, endpoint.path)

    def ssl_context(self, endpoint: Endpoint) -> ssl.SSLContext:
        """How TLS is spoken with an endpoint. Raises StoreError naming a file that cannot be used."""
        with self._lock:
            key = endpoint.host, endpoint.is_insecure
            context = self._contexts.get(key)
            if context is None:
                folder = self._cert_dir or usual_folder(endpoint.host)
                context = self._contexts[key] = tls_context(folder, is_insecure=endpoint.is_insecure)
            return context

    def proxy(self, url: str) -> str | None:
        """The proxy for a URL as the environment names it, None if there is none. Raises StoreError."""
        return proxy_for(url)

    def _find(self, name: str) -> Registry | None:
        """What is said of a repository. Raises StoreError if it is blocked."""
        found = self._registries.find(name)
        if found is not None and found.is_blocked:
            raise StoreError(f"docker://{name}: {found.prefix} is blocked in {found.path}")
        return found

    def _is_blocked(self, name: str) -> bool:
        found = self._registries.find(name)
        return found is not None and found.is_blocked

    def _endpoint(self, name: str, named: Repository, *, is_insecure: bool) -> Endpoint:
        host, _, path = name.partition("/")
        if self._tls_verify is not None:
            is_insecure = not self._tls_verify
        return Endpoint(host, path, is_insecure, host != named.host)


def _may_ask(mirror: Mirror, *, by_digest: bool) -> bool:
    return mirror.pulls == "all" or (mirror.pulls == "digest-only") == by_digest
