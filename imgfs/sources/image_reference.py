"""How people name an image, and a path in it: `[SOURCE:]NAME[:/PATH]`.

Format: containers/image, containers-transports(5), which skopeo and podman follow, and `docker cp` for the path:

    NAME                          a name, an ID or a prefix of one, in any store of the machine
    docker:NAME                   in that store; so too containers-storage, containerd and imgfs
    docker:[ROOT]NAME             in the store that lies at ROOT
    oci:PATH:TAG                  in a layout; so too oci-archive:FILE:TAG, docker-archive:FILE:NAME, each also with @N
    ./FILE:NAME                   in what FILE is recognised as; a path begins with `/`, `./` or `../`

Where NAME is left out, the one image is meant that there is.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass

from imgfs.errors import StoreError
from imgfs.sources.reference import split_tag

STORES = ("imgfs", "docker", "containers-storage", "containerd")
"""Sources that have a usual place, and so are followed by a name rather than by a path."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image as it was named: `source` is None for any store of the machine, `name` empty for the only image."""

    source: str | None
    name: str
    path: str | None = None


def parse_image_reference(text: str, schemes: Collection[str]) -> ImageReference:
    """What `text` names; `schemes` are those of all sources. Raises StoreError if it names nothing."""
    image, path = _split_path(text, schemes)
    scheme, colon, rest = image.partition(":")
    if scheme == "docker" and rest.startswith("//"):
        raise StoreError(f"{text}: registries cannot be read; pull the image, or save it to an archive")
    if colon and scheme in STORES:
        root, name = _split_root(rest)
        return ImageReference(f"{scheme}:{root}", name, path)
    if colon and scheme in schemes:
        return ImageReference(image, "", path)
    if image.startswith(("/", "./", "../")):
        place, tag = split_tag(image)
        return ImageReference(place, tag or "", path)
    if not image:
        raise StoreError(f"{text!r} names no image")
    return ImageReference(None, image, path)


def _split_path(text: str, schemes: Collection[str]) -> tuple[str, str | None]:
    """The image, and the path behind the first `:/` that does not begin the place of a source."""
    scheme, colon, rest = text.partition(":")
    if os.path.lexists(text) or (colon and scheme in schemes and os.path.lexists(rest)):
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
    is_place = rest.startswith(("/", ".", "#")) or "@/" in rest or (bool(rest) and os.path.isdir(rest))
    return (rest, "") if is_place or not rest else ("", rest)
