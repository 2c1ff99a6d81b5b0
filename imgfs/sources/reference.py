"""References to places and images as people write them: `PATH[:TAG]`, and `[DOMAIN/]NAME[:TAG]`.

Format: the distribution project's reference grammar, without digests; containers/image, containers-transports(5), for
what stands behind a path: `docker-archive:PATH[:{NAME|@N}]`, `oci:PATH[:{NAME|@N}]`, where N counts from 0.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from imgfs.errors import InvalidImage, StoreError
from imgfs.registry.reference import LABEL, PART, is_tag

T = TypeVar("T")

_DOMAIN = rf"{LABEL}(?:\.{LABEL})*(?::[0-9]+)?"
_NAME = re.compile(rf"(?:{_DOMAIN}/)?{PART}(?:/{PART})*")

_SUFFIXES = re.compile(r"(?:\.(?:oci|tar|tgz|tzst|txz|tbz2?|gz|zst|xz|bz2))+$")

_DOCKER = ("docker.io/library/", "docker.io/", "index.docker.io/library/", "index.docker.io/", "library/")
# by podman for what it built, and by engines
_IMPLIED = ("", "localhost/", "docker.io/library/", "docker.io/")


def split_tag(text: str) -> tuple[str, str | None]:
    """The path and the tag of `PATH[:TAG]`; what exists as a whole is a path, else the first colon behind what does.

    Raises StoreError for an empty path.
    """
    path, colon, _ = text.partition(":")
    if not path:
        raise StoreError("a path is missing after the colon")
    if os.path.lexists(text) or not colon:
        return text, None
    colons = [place for place, char in enumerate(text) if char == ":"]
    end = next((place for place in colons if os.path.lexists(text[:place])), len(path))
    return text[:end], text[end + 1 :] or None


def with_tag(reference: str, tag: str | None) -> str:
    """A reference with the tag that it is restricted to, if any."""
    return f"{reference}:{tag}" if tag else reference


def full_name(text: str) -> str:
    """A name with its tag, `latest` where none is given. Raises InvalidImage if it is no name."""
    head, slash, last = text.rpartition("/")
    name, colon, tag = last.partition(":")
    repository = head + slash + name
    tag = tag if colon else "latest"
    if len(repository) > 255 or not _NAME.fullmatch(repository) or not is_tag(tag):
        raise InvalidImage(f"{text!r} is not a valid name for an image (REPOSITORY[:TAG], in lower case)")
    return f"{repository}:{tag}"


def split_name(name: str) -> tuple[str, str]:
    """The repository of a name and its tag, each empty where it has none; a layout's names may be tags alone."""
    head, slash, last = name.rpartition("/")
    repository, colon, tag = last.rpartition(":")
    return (f"{head}{slash}{repository}", tag) if colon else (name, "") if slash else ("", name)


def with_digest(names: Iterable[str], digest: str) -> list[str]:
    """The names of an image with the digest of its manifest in place of a tag, each once."""
    repositories = dict.fromkeys(split_name(name)[0] for name in names)
    return [f"{repository}@{digest}" for repository in repositories if repository]


def familiar_name(name: str) -> str:
    """A full name as docker shows it: without the registry and the folder that it takes by itself."""
    return name.removeprefix("docker.io/").removeprefix("library/") if name.startswith("docker.io/") else name


def qualified_name(name: str) -> str:
    """A name with its registry, `docker.io` where it has none, as containerd writes it."""
    domain, slash, _ = name.partition("/")
    if slash and (domain == "localhost" or "." in domain or ":" in domain):
        return name
    return f"docker.io/{name if slash else f'library/{name}'}"


def spellings(text: str) -> list[str]:
    """The names that a person may mean by one, the name itself first, the likeliest before others.

    What engines put before and behind a name by themselves may be there or left out.
    """
    stems = [text, *(text.removeprefix(prefix) for prefix in _DOCKER if text.startswith(prefix))]
    is_shortened = len(stems) > 1 or not text.startswith(_IMPLIED[1:])
    names = [before + stem for stem in stems for before in (_IMPLIED if is_shortened else _IMPLIED[:1])]
    if len(stems) > 1:  # said to be of docker.io, so of no other place
        names = [name for name in names if name == text or not name.startswith("localhost/")]
    tagged = (variant for name in names for variant in (name, *_tag_variants(name)))
    return list(dict.fromkeys(tagged))


def narrowed(
    items: Sequence[tuple[int, T]], wanted: str | None, names: Callable[[T], Iterable[str]]
) -> Sequence[tuple[int, T]]:
    """The items of a layout or an archive that `wanted` means: a name, a digest, or `@N`.

    All of them if there are none, as it may be an ID, which is known only once images are read. Each item has a number,
    and `names`, of which a digest is one as `@sha256:<hex>`.
    """
    if wanted is None:
        return items
    digest = f"@{wanted.rpartition('@')[2]}" if "@" in wanted or ":" in wanted else None
    named: dict[str, list[tuple[int, T]]] = {}
    for item in items:
        for name in dict.fromkeys((*names(item[1]), f"@{item[0]}")):
            named.setdefault(name, []).append(item)
    return next((named[name] for name in (digest, *spellings(wanted)) if name in named), items)


def repository_of(path: str, *, is_archive: bool) -> str:
    """The repository that names without one come under: what a layout at `path` is called, as a valid name."""
    name = os.path.basename(os.path.abspath(path))
    name = _SUFFIXES.sub("", name) if is_archive else name
    if not _NAME.fullmatch(name):
        name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return name or "layout"


def _tag_variants(name: str) -> list[str]:
    if name.endswith(":latest"):
        return [name.removesuffix(":latest")]
    return [] if ":" in name.rpartition("/")[2] else [f"{name}:latest"]
