"""Names of images, as docker writes them: `[DOMAIN/]PATH[:TAG]`.

Format: the distribution project's reference grammar, without digests.
"""

import re

from imgfs.errors import InvalidImage

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*"  # never matches in two ways, or a long name would take for ever
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?"
_NAME = re.compile(rf"(?:{_DOMAIN}/)?{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def full_name(text: str) -> str:
    """A name with its tag, `latest` where none is given. Raises InvalidImage if it is no name."""
    head, slash, last = text.rpartition("/")
    name, colon, tag = last.partition(":")
    repository = head + slash + name
    tag = tag if colon else "latest"
    if len(repository) > 255 or not _NAME.fullmatch(repository) or not _TAG.fullmatch(tag):
        raise InvalidImage(f"{text!r} is not a valid name for an image (REPOSITORY[:TAG], in lower case)")
    return f"{repository}:{tag}"


def familiar_name(name: str) -> str:
    """A full name as docker shows it: without the registry and the folder that it takes by itself."""
    return name.removeprefix("docker.io/").removeprefix("library/") if name.startswith("docker.io/") else name


def qualified_name(name: str) -> str:
    """A name with its registry, `docker.io` where it has none, as containerd writes it."""
    domain, slash, _ = name.partition("/")
    if slash and (domain == "localhost" or "." in domain or ":" in domain):
        return name
    return f"docker.io/{name if slash else f'library/{name}'}"


_DOCKER = ("docker.io/library/", "docker.io/", "index.docker.io/library/", "index.docker.io/", "library/")
_IMPLIED = (
    "",
    "localhost/",
    "docker.io/library/",
    "docker.io/",
)  # by podman for what it built, and by engines


def spellings(text: str) -> list[str]:
    """The names that a person may mean by one, the name itself first, the likeliest before others.

    What engines put before and behind a name on their own may be there or left out.
    """
    stems = [text, *(text.removeprefix(prefix) for prefix in _DOCKER if text.startswith(prefix))]
    is_shortened = len(stems) > 1 or not text.startswith(_IMPLIED[1:])
    names = [before + stem for stem in stems for before in (_IMPLIED if is_shortened else _IMPLIED[:1])]
    if len(stems) > 1:  # said to be of docker.io, so of no other place
        names = [name for name in names if name == text or not name.startswith("localhost/")]
    with_tag = (variant for name in names for variant in (name, *_tag_variants(name)))
    return list(dict.fromkeys(with_tag))


def _tag_variants(name: str) -> list[str]:
    if name.endswith(":latest"):
        return [name.removesuffix(":latest")]
    return [] if ":" in name.rpartition("/")[2] else [f"{name}:latest"]
