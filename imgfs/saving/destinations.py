"""Where images are copied to, as people write it: `TRANSPORT:PLACE[:TAG]`, as skopeo has it.

Tried by the tests of `imgfs copy`.
"""

from dataclasses import dataclass

from imgfs.errors import StoreError
from imgfs.registry.reference import RegistryReference, is_registry_reference, parse_registry_reference
from imgfs.sources.image_reference import parse_source
from imgfs.sources.reference import full_name, split_tag

TRANSPORTS = ("imgfs", "oci", "oci-archive", "docker-archive", "docker")

_USAGE = "imgfs:[NAME], oci:PATH[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] or docker://HOST/REPO[:TAG]"


@dataclass(frozen=True, slots=True)
class Place:
    """A place for an image: `path` is that of a store, a layout or an archive.

    `name` is the tag or the name that the image gets there, empty where none is given; `reference` is that to a
    registry.
    """

    transport: str
    path: str
    name: str
    reference: RegistryReference | None = None


def parse_destination(text: str) -> Place:
    """The place that `text` names. Raises StoreError if images are not copied there, InvalidImage for a bad name."""
    transport, colon, rest = text.partition(":")
    if is_registry_reference(text):
        reference = parse_registry_reference(text)
        if not reference.path or reference.all_tags:
            raise StoreError(f"{reference}: to copy an image there, a repository is needed, and one tag")
        return Place(transport, "", "", reference)
    if not colon or transport not in TRANSPORTS or transport == "docker":
        raise StoreError(f"{text}: images are not copied there, but to {_USAGE}")
    if transport == "imgfs":
        store = parse_source(text, TRANSPORTS)
        path = (store.source or "").partition(":")[2]
        return Place(transport, path, full_name(store.name) if store.name else "")
    path, tag = split_tag(rest)
    if transport == "docker-archive" and tag:
        tag = full_name(tag)
    return Place(transport, path, tag or "")
