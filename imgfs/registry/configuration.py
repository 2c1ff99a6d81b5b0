"""How registries are reached: through which mirrors and proxies, with which credentials and certificates.

What the command line says goes before what files say, which are those of podman, skopeo and docker. Signatures, and so
registries.d, are not looked at.
"""

import ssl
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Self
from urllib.parse import urlsplit

from imgfs.errors import StoreError
from imgfs.registry.account import Credentials
from imgfs.registry.credentials import AuthFile, CredentialStore, given_credentials, usual_files
from imgfs.registry.reference import Repository
from imgfs.registry.registries_conf import Mirror, RegistriesConf, read_registries_conf
from imgfs.registry.tls import tls_context, usual_folder

__all__ = ["Configuration", "Credentials", "Endpoint"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a repository may be asked for: its `path` at `host`, not verified if it `is_insecure`."""

    host: str
    path: str
    is_insecure: bool
    is_mirror: bool


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
        """Read registries.conf now; the files with credentials are read when some are needed.

        The arguments are what the options of these names were given. Raises StoreError naming a file that is wrong.
        """
        files = [AuthFile(authfile, is_required=True)] if authfile is not None else usual_files()
        return cls(
            read_registries_conf(),
            CredentialStore(files),
            tls_verify=tls_verify,
            cert_dir=cert_dir,
            creds=given_credentials(creds) if creds is not None else None,
        )

    def endpoints(self, repository: Repository, *, by_digest: bool) -> Sequence[Endpoint]:
        """Where to ask for a repository: mirrors, and the registry itself last. Raises StoreError if it is blocked.

        `by_digest` says that what is asked for is named by a digest, which not every mirror is asked for otherwise.
        """
        name = str(repository)
        found = self._registries.find(name)
        if found is None:
            return [Endpoint(repository.host, repository.path, self._is_insecure(said=False), False)]
        if found.is_blocked:
            raise StoreError(f"docker://{name}: the registry is blocked in registries.conf")
        mirrors = [
            self._endpoint(found.moved(name, mirror.location), is_insecure=mirror.is_insecure, is_mirror=True)
            for mirror in found.mirrors
            if _may_ask(mirror, by_digest=by_digest)
        ]
        moved = found.moved(name, found.location)
        return [*mirrors, self._endpoint(moved, is_insecure=found.is_insecure, is_mirror=False)]

    def credentials(self, endpoint: Endpoint) -> Credentials | None:
        """What is kept for an endpoint, None if nothing is. Runs helpers and reads files again at each call.

        Raises StoreError naming a file that cannot be read.
        """
        return self._creds or self._store.find(endpoint.host, endpoint.path)

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
        """The proxy for a URL as the environment names it, None if there is none."""
        parts = urlsplit(url)
        if parts.hostname is None or urllib.request.proxy_bypass(parts.hostname):
            return None
        return urllib.request.getproxies().get(parts.scheme)

    def _endpoint(self, name: str, *, is_insecure: bool, is_mirror: bool) -> Endpoint:
        host, _, path = name.partition("/")
        return Endpoint(host, path, self._is_insecure(said=is_insecure), is_mirror)

    def _is_insecure(self, *, said: bool) -> bool:
        return said if self._tls_verify is None else not self._tls_verify


def _may_ask(mirror: Mirror, *, by_digest: bool) -> bool:
    return mirror.pulls == "all" or (mirror.pulls == "digest-only") == by_digest
