"""How registries are reached: through which mirrors and proxies, with which credentials and certificates.

Tried by the tests of a real registry.
"""

import ssl
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from imgfs.registry.reference import Repository


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, or an identity token, which stands for both."""

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a repository may be asked for: its `path` at `host`, not verified if it `is_insecure`."""

    host: str
    path: str
    is_insecure: bool
    is_mirror: bool


class Configuration:
    """What a command was told of registries, and what files say."""

    def __init__(self, *, tls_verify: bool | None = None) -> None:
        self._tls_verify = tls_verify

    @classmethod
    def load(cls, *, tls_verify: bool | None = None) -> Self:
        """Take what the command line says."""
        return cls(tls_verify=tls_verify)

    def endpoints(self, repository: Repository, *, by_digest: bool) -> Sequence[Endpoint]:
        """Where to ask for a repository, in order; the registry itself is the last."""
        return [Endpoint(repository.host, repository.path, self._tls_verify is False, False)]

    def credentials(self, endpoint: Endpoint) -> Credentials | None:
        """What is kept for an endpoint, None if nothing is."""
        return None

    def ssl_context(self, endpoint: Endpoint) -> ssl.SSLContext:
        """How TLS is spoken with an endpoint."""
        context = ssl.create_default_context()
        if endpoint.is_insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def proxy(self, url: str) -> str | None:
        """The proxy for a URL, None if there is none."""
        parts = urlsplit(url)
        if parts.hostname is None or urllib.request.proxy_bypass(parts.hostname):
            return None
        return urllib.request.getproxies().get(parts.scheme)
