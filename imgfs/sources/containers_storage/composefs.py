"""How the files of a layer are named where the store uses composefs: each by the digest of its content.

    overlay/<id>/composefs-data/composefs.blob    is there if the layer is kept so
    overlay/<id>/diff/<2 hex>/<62 hex>            the files
    overlay-layers/<id>/=<base64 of MANIFEST>     which member has which digest

Format: containers/storage, `drivers/overlay/composefs.go` and `pkg/chunked/internal/minimal/compression.go`.
The digests only say where to look: what is read has to have the checksum that the layer's tar-split records.
"""

from collections import defaultdict, deque

import msgspec

from imgfs.digest import Digest
from imgfs.errors import Corrupt, InvalidDigest, InvalidImage
from imgfs.go_json import parse_json
from imgfs.tar.paths import cleaned
from imgfs.tar.split import Naming

BLOB = "composefs-data/composefs.blob"
"""Where the names of files are kept, below the directory of a layer."""

MANIFEST = "zstd-chunked-manifest"
"""The name of the document that lists the members of a layer."""

_REGULAR = "reg"


class _Member(msgspec.Struct, gc=False):
    type: str = ""
    name: str = ""
    digest: str = ""


class _Members(msgspec.Struct):
    entries: list[_Member] | None = None


def object_names(manifest: bytes, name: str) -> Naming:
    """How the files of the members that a manifest lists are named; a member that it does not list has no file.

    Raises Corrupt naming `name` if it is no manifest.
    """
    try:
        members = parse_json(manifest, _Members, name).entries or ()
    except InvalidImage as error:
        raise Corrupt(str(error)) from None
    known: defaultdict[str, deque[str]] = defaultdict(deque)
    for member in members:
        if member.type == _REGULAR and member.digest:
            known[_key(member.name.encode())].append(member.digest)

    def naming(name: bytes) -> bytes:
        digests = known.get(_key(name))
        if not digests:
            return name
        # a tar may have a name several times; the manifest lists its members in their order
        digest = digests.popleft() if len(digests) > 1 else digests[0]
        try:
            named = Digest(digest).hex
        except InvalidDigest:
            return name
        return f"{named[:2]}/{named[2:]}".encode()

    return naming


def _key(name: bytes) -> str:
    """A name as Go writes it into a document, without what a tar may have around it."""
    return cleaned(name).decode("utf-8", "replace")
