"""How people name an image or a container, and a path in it: `[SOURCE:]NAME[:/PATH]`.

Format: containers/image, containers-transports(5), which skopeo and podman follow, and `docker cp` for the path:

    NAME                          a name, an ID or a prefix of one, in any store of the machine; or the path that
                                  has this name, if no store has such an image
    docker:NAME                   in that store; so too containers-storage, containerd and imgfs
    docker:[ROOT]NAME             in the store that lies at ROOT
    oci:PATH:TAG                  in a layout; so too oci-archive:FILE:TAG, docker-archive:FILE:NAME, each also with @N
    ./FILE:NAME                   in what FILE is recognised as
    docker://HOST/REPO:TAG        in a registry; `latest` if no tag is given, also REPO@DIGEST, and REPO:* for all tags

A store's ROOT may stand for itself if it begins with `/`, `./` or `../`, or with `#` for a namespace: `docker:/ROOT`.
Where NAME is left out of an image, the one image is meant that there is; out of a source, all.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace

from imgfs.errors import StoreError
from imgfs.registry.reference import PREFIX, is_registry_reference, parse_registry_reference
from imgfs.sources.reference import split_tag

STORES = ("imgfs", "docker", "containers-storage", "containerd")
"""Sources that have a usual place, and so are followed by a name rather than by a path."""

_BY_PATH = ("oci", "oci-archive", "docker-archive")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image as it was named: `source` is None for any store of the machine, `name` empty where it is left out."""

    source: str | None
    name: str
    path: str | None = None

    @property
    def place(self) -> str:
        """The source as it is opened: of a layout or an archive, only what is named is read if it can be found so."""
        scheme = (self.source or "").partition(":")[0]
        return f"{self.source}:{self.name}" if self.name and scheme in _BY_PATH else self.source or ""


def parse_image_reference(text: str, schemes: Collection[str]) -> ImageReference:
    """The image that `text` names; `schemes` are those of all sources. Raises StoreError if it names nothing."""
    image, path = _split_path(text, schemes)
    return replace(parse_source(image, schemes), path=path)


def parse_source(text: str, schemes: Collection[str]) -> ImageReference:
    """The source that `text` names, or the image in one. Raises StoreError if it names nothing."""
    scheme, colon, rest = text.partition(":")
    if is_registry_reference(text):
        return ImageReference(str(parse_registry_reference(text)), "")
    if colon and scheme in STORES:
        root, name = _split_root(rest)
        if scheme == "containers-storage" and rest.startswith("["):
            root = f"[{root}]"  # as skopeo has it, with a driver and a run root
        return ImageReference(f"{scheme}:{root}", name)
    if colon and scheme in schemes:
        place, name = _split_name(rest)
        return ImageReference(f"{scheme}:{place}", name)
    if text.startswith(("/", "./", "../")) or text in (".", ".."):
        return ImageReference(*_split_name(text))
    if not text:
        raise StoreError(f"{text!r} names no image")
    return ImageReference(None, text)


def as_path(reference: ImageReference) -> ImageReference | None:
    """What a name without a source means as a path; None if there is no such file or directory."""
    place, name = _split_name(reference.name)
    return ImageReference(place, name, reference.path) if os.path.lexists(place) else None


def in_source(place: str, name: str) -> str:
    """How an image or a container of a source is written that has a usual place, or is a path."""
    if is_registry_reference(place):
        return f"{PREFIX}{name}"
    scheme, _, path = place.partition(":")
    if scheme not in STORES:
        return f"{place}:{name}"
    return f"{scheme}:[{path}]{name}" if path else f"{scheme}:{name}"


def _split_path(text: str, schemes: Collection[str]) -> tuple[str, str | None]:
    """The image, and the path behind the first `:/` that does not begin the place of a source."""
    scheme, colon, rest = text.partition(":")
    is_local = not is_registry_reference(text)
    if os.path.lexists(text) or (is_local and colon and scheme in schemes and os.path.lexists(rest)):
        return text, None
    at = text.find(":/")
    while at >= 0:
        if text[:at] not in schemes:
            return text[:at], text[at + 1 :]
        at = text.find(":/", at + 1)
    return text, None


def _split_root(rest: str) -> tuple[str, str]:
    """The place of a store, empty for the usual one, and the name of an image in it."""
    if rest.startswith("["):
        root, bracket, name = rest[1:].partition("]")
        if bracket:
            return root, name
    return (rest, "") if rest.startswith(("/", ".", "#")) or not rest else ("", rest)


def _split_name(text: str) -> tuple[str, str]:
    """The path of an archive or a layout, and the name of an image in it."""
    path, name = split_tag(text)
    return path, name or ""
