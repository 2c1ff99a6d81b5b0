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
