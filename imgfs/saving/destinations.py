"""Where images are copied to, as people write it: `TRANSPORT:PLACE[:TAG]`, as skopeo has it.

Tried by the tests of `imgfs copy`.
"""

from dataclasses import dataclass

from imgfs.errors import StoreError
from imgfs.registry.reference import is_registry_reference
from imgfs.sources.image_reference import parse_source
from imgfs.sources.reference import full_name, split_tag

TRANSPORTS = ("imgfs", "oci", "oci-archive", "docker-archive", "docker")

_USAGE = "imgfs:[NAME], oci:PATH[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] or docker://HOST/REPO[:TAG]"


@dataclass(frozen=True, slots=True)
class Place:
    """A place for an image: `path` is that of a store, a layout or an archive, or a whole reference to a registry.

    `name` is the tag or the name that the image gets there, empty where none is given.
    """

    transport: str
    path: str
    name: str


def parse_destination(text: str) -> Place:
    """The place that `text` names. Raises StoreError if images are not copied there, InvalidImage for a bad name."""
    transport, colon, rest = text.partition(":")
    if is_registry_reference(text):
        return Place(transport, text, "")
    if not colon or transport not in TRANSPORTS or transport == "docker":
        raise StoreError(f"{text}: images are not copied there, but to {_USAGE}")
    if transport == "imgfs":
        reference = parse_source(text, TRANSPORTS)
        path = (reference.source or "").partition(":")[2]
        return Place(transport, path, full_name(reference.name) if reference.name else "")
    path, tag = split_tag(rest)
    if transport == "docker-archive" and tag:
        tag = full_name(tag)
    return Place(transport, path, tag or "")
