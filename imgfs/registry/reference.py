"""References to what registries hold, as people write them: `docker://HOST[:PORT]/REPO[:TAG|@DIGEST]`.

Format: containers/image, containers-transports(5), and the distribution project's reference grammar. Without a host, or
where the first part is no host, docker.io is meant, whose one-part names are in `library/`.
"""

import re
from dataclasses import dataclass

import msgspec

from imgfs.digest import Digest
from imgfs.errors import InvalidDigest, StoreError

PREFIX = "docker://"

_HUB = "docker.io"
_HUB_NAMES = (_HUB, "index.docker.io", "registry-1.docker.io")
PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{PART}(?:/{PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
LABEL = r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*"  # never matches in two ways, or a long name would take for ever
_HOST = re.compile(rf"(?:{LABEL}(?:\.{LABEL})*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\])(?::[0-9]{{1,5}})?")
_LONGEST_PATH = 255


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """A repository of a registry: `host` is as people write it, `docker.io` for Docker Hub, with a port if given."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


class RegistryReference(msgspec.Struct, frozen=True):
    """What a reference names: an image by its tag or digest, all tags of a repository, or without a path, a host."""

    host: str
    path: str
    tag: str | None = None
    digest: Digest | None = None
    all_tags: bool = False

    @property
    def repository(self) -> Repository:
        """Its repository. Raises ValueError for a reference to a host."""
        if not self.path:
            raise ValueError(f"{self} names no repository")
        return Repository(self.host, self.path)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ":*" if self.all_tags else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{PREFIX}{self.host}/{self.path}{tag}{digest}"


def is_registry_reference(text: str) -> bool:
    """Whether `text` is to be parsed as a reference to a registry."""
    return text.startswith(PREFIX)


def is_tag(text: object) -> bool:
    """Whether something is a tag as registries allow them."""
    return isinstance(text, str) and _TAG.fullmatch(text) is not None


def parse_registry_reference(text: str) -> RegistryReference:
    """The reference that `text`, which begins with `docker://`, is. A tag beside a digest is only a note.

    Raises StoreError if it is no reference.
    """
    rest = text.removeprefix(PREFIX)
    if rest.startswith("/"):
        hint = f"; a root of Docker's is written docker:{rest}"
        raise StoreError(f"{text}: the name of a registry is missing{hint}")
    name, at, digest_text = rest.partition("@")
    try:
        digest = Digest(digest_text) if at else None
    except InvalidDigest as error:
        # what stands before it may be a password
        raise StoreError(f"docker://…@: {error} (credentials are given by --creds or --authfile)") from None
    host, slash, path = name.partition("/")
    is_host = slash and ("." in host or ":" in host or host == "localhost" or host.startswith("["))
    if not is_host:
        host, path = _HUB, name
    elif host.lower() in _HUB_NAMES:
        host = _HUB
    if not path and is_host and digest is None:
        return RegistryReference(_checked_host(host, text), "")
    head, inner_slash, last = path.rpartition("/")
    last, colon, tag = last.partition(":")
    path = head + inner_slash + last
    if host == _HUB and "/" not in path:
        path = f"library/{path}"
    if len(path) > _LONGEST_PATH or not _PATH.fullmatch(path):
        raise StoreError(f"{text}: {path!r} is not a valid name for a repository (in lower case)")
    if colon and tag == "*" and digest is None:
        return RegistryReference(_checked_host(host, text), path, all_tags=True)
    if colon and not is_tag(tag):
        raise StoreError(f"{text}: {tag!r} is not a valid tag")
    wanted = tag if colon else None if digest is not None else "latest"
    return RegistryReference(_checked_host(host, text), path, wanted, digest)


def _checked_host(host: str, text: str) -> str:
    if not _HOST.fullmatch(host):
        raise StoreError(f"{text}: {host!r} is not a valid name for a registry")
    return host
