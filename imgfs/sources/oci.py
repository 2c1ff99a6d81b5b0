"""Images of an OCI image layout, in a directory or inside an archive.

Format: OCI image specification, image-layout.md; what lies below its index is `manifests`' to follow.
"""

from collections.abc import Iterable, Iterator

from imgfs.blob import Blob, Links, Root
from imgfs.digest import Digest
from imgfs.errors import InvalidImage
from imgfs.sources.archive import ArchiveFiles
from imgfs.sources.checks import named_blobs
from imgfs.sources.documents import MAX_LIST, parse_document, parse_items, read_document
from imgfs.sources.finder import Check, Finder, Found, Report, ignore
from imgfs.sources.kind import ArchiveKind, DirectoryKind
from imgfs.sources.manifests import Descriptor, Document, ManifestWalk, this_platform_first
from imgfs.sources.reference import select, split_tag, with_tag

_NAME_KEYS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class LayoutFinder(Finder):
    """Everything that a layout's index leads to, in its order, or with a tag only what that means."""

    def __init__(self, files: Root | ArchiveFiles, scheme: str, tag: str | None) -> None:
        self.reference = with_tag(f"{scheme}:{files.path}", tag)
        self.folder = files.path if isinstance(files, Root) else None
        self.writers = frozenset({files.writer})
        self._files = files
        self._tag = tag
        self._walk = ManifestWalk(self._open_blob, files.path)

    def find(self, report: Report) -> Iterator[Found]:
        """As of `Finder`. Raises InvalidImage if there is no readable index, or nothing that the tag means."""
        described = _by_digest(this_platform_first(self._named(report)))
        self._walk.begin(report, self._stored)
        for descriptor, tags in described:
            yield from self._walk.images(descriptor, tags)

    def stamp(self) -> object:
        if isinstance(self._files, ArchiveFiles):
            return None
        self._files.follow()
        self._files.stat("index.json")  # which has to be there
        return self._files.stamp(["index.json"])

    def checks(self) -> Iterator[Check]:
        return named_blobs(self._open_blob, self._named(ignore))

    def close(self) -> None:
        self._files.close()

    def _named(self, report: Report) -> list[Descriptor]:
        """What the layout's index names, or what of that the tag means; an odd item is reported."""
        path, tag = self._files.path, self._tag
        name = f"{path}/index.json"
        data = read_document(self._files.open("index.json"), name, limit=MAX_LIST)
        index = parse_document(data, Document, name)
        if not index.is_index:
            raise InvalidImage(f"{name}: no manifests")
        listed = parse_items(index.manifests, Descriptor, name, report)
        if tag is not None:
            listed = select(listed, tag, lambda each: (*_names(each), f"@{each.digest}"), path)
        return [descriptor for _, descriptor in listed]

    def _stored(self) -> set[str]:
        """The digests of the blobs that are there; those of an archive, which is read once, are not asked for."""
        if isinstance(self._files, ArchiveFiles):
            return set()
        try:
            return {f"sha256:{name}" for name in self._files.names("blobs/sha256")}
        except FileNotFoundError:
            return set()

    def _open_blob(self, digest: Digest) -> Blob:
        return self._files.open(f"blobs/{digest.algorithm}/{digest.hex}")


def _by_digest(descriptors: Iterable[Descriptor]) -> Iterable[tuple[Descriptor, list[str]]]:
    """Each thing described once, with all of its tags; a tag is the first's that has it."""
    found: dict[str, tuple[Descriptor, list[str]]] = {}
    owners: dict[str, str] = {}
    for descriptor in descriptors:
        _, tags = found.setdefault(descriptor.digest, (descriptor, []))
        tag = next(iter(_names(descriptor)), "")
        if tag and owners.setdefault(tag, descriptor.digest) == descriptor.digest and tag not in tags[-1:]:
            tags.append(tag)
    return found.values()


def _names(descriptor: Descriptor) -> list[str]:
    """What a manifest is called: in full by containerd and Docker, and as the specification has it."""
    return [name for key in _NAME_KEYS if (name := descriptor.annotation(key))]


def _layout(rest: str) -> LayoutFinder:
    path, tag = split_tag(rest)
    return LayoutFinder(Root(path, Links.INSIDE), "oci", tag)


LAYOUT = DirectoryKind("oci", _layout, lambda root: root.exists("index.json"))
ARCHIVE = ArchiveKind("oci-archive", lambda files, tag: LayoutFinder(files, "oci-archive", tag), "index.json")
