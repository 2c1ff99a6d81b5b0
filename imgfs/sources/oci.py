"""Images of an OCI image layout, in a directory or inside an archive.

Format: OCI image specification, image-layout.md; what lies below its index is `manifests`' to follow.
"""

from collections.abc import Iterable, Iterator, Sequence

from imgfs.blob import Blob, Links, Root
from imgfs.digest import Digest
from imgfs.registry.reference import is_tag
from imgfs.sources.archive import ArchiveFiles
from imgfs.sources.checks import named_blobs
from imgfs.sources.content_store import ContentStore, Top
from imgfs.sources.finder import Check, Finder, Found, Report, ignore
from imgfs.sources.kind import ArchiveKind, DirectoryKind
from imgfs.sources.manifests import Descriptor, ManifestWalk, read_index, this_platform_first
from imgfs.sources.reference import narrowed, repository_of, spellings, split_tag, with_tag

_DECISIVE = ("index.json", "blobs/sha256")  # a manifest may come or go without a change of what names it
_NAME_KEYS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class LayoutFinder(Finder, ContentStore):
    """Everything that a layout's index leads to, in its order, or where some of it is what `wanted` means, only that.

    A tag without a repository stands behind the layout's own name.
    """

    def __init__(self, files: Root | ArchiveFiles, scheme: str, wanted: str | None) -> None:
        self.reference = with_tag(f"{scheme}:{files.path}", wanted)
        self.folders = (files.path,) if isinstance(files, Root) else ()
        self.writers = frozenset({files.writer})
        self._files = files
        self._wanted = wanted
        self._name = repository_of(files.path, is_archive=not self.folders)
        self._walk = ManifestWalk(self.open_content, files.path)

    def find(self, report: Report) -> Iterator[Found]:
        """As of `Finder`. Raises InvalidImage if there is no readable index."""
        listed = self._listed(report)
        self._walk.begin(report, self._stored)
        for descriptor, tags, aliases in self._by_digest(listed):
            yield from self._walk.images(descriptor, tags, aliases)

    def stamp(self) -> object:
        if isinstance(self._files, ArchiveFiles):
            return None
        self._files.follow()
        self._files.stat("index.json")  # which has to be there
        return self._files.stamp(_DECISIVE)

    def watched(self) -> Iterable[str]:
        path = self._files.path
        return (
            (path,) if isinstance(self._files, ArchiveFiles) else (path, *map(self._files.path_of, _DECISIVE))
        )

    def checks(self) -> Iterator[Check]:
        return named_blobs(self.open_content, [descriptor for _, descriptor in self._listed(ignore)])

    def tops(self) -> Iterator[Top]:
        for descriptor, tags, aliases in self._by_digest(self._listed(ignore)):
            yield Top(descriptor, [*tags, *aliases])

    def open_content(self, descriptor: Descriptor) -> Blob:
        digest = Digest(descriptor.digest)
        return self._files.open(f"blobs/{digest.algorithm}/{digest.hex}")

    def close(self) -> None:
        self._files.close()

    def _listed(self, report: Report) -> Sequence[tuple[int, Descriptor]]:
        """What the layout's index names or is wanted of that, each with its number; an odd item is reported."""
        name = f"{self._files.path}/index.json"
        listed = read_index(self._files.open("index.json"), name, report)
        return narrowed(listed, self._wanted, lambda each: (*sum(self._names(each), ()), f"@{each.digest}"))

    def _by_digest(
        self, listed: Sequence[tuple[int, Descriptor]]
    ) -> Iterable[tuple[Descriptor, list[str], list[str]]]:
        """Each thing described once, with its tags and aliases; a tag is the first's that has it, here if any is."""
        numbers = {id(descriptor): number for number, descriptor in listed}
        found: dict[str, tuple[Descriptor, list[str], list[str]]] = {}
        owners: dict[str, str] = {}
        for descriptor in this_platform_first([descriptor for _, descriptor in listed]):
            _, tags, aliases = found.setdefault(descriptor.digest, (descriptor, [], []))
            names, others = self._names(descriptor)
            aliases += [*others, f"@{numbers[id(descriptor)]}"]
            for tag in names:
                if owners.setdefault(tag, descriptor.digest) == descriptor.digest and tag not in tags[-1:]:
                    tags.append(tag)
        return found.values()

    def _names(self, descriptor: Descriptor) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What a manifest is called, in full by containerd and Docker or as the specification has it, and aliases."""
        full, name = (descriptor.annotation(key) for key in _NAME_KEYS)
        if not name:
            return ((full,) if full else ()), ()
        if is_tag(name):
            return (full or f"{self._name}:{name}",), (name,)
        if not full or full in spellings(name):  # the same, as it was written
            return (name,), ()
        return (full,), (name,)

    def _stored(self) -> set[str]:
        """The digests of the blobs that are there; those of an archive, which is read once, are not asked for."""
        if isinstance(self._files, ArchiveFiles):
            return set()
        try:
            return {f"sha256:{name}" for name in self._files.names("blobs/sha256")}
        except FileNotFoundError:
            return set()


def _layout(rest: str) -> LayoutFinder:
    path, tag = split_tag(rest)
    return LayoutFinder(Root(path, Links.INSIDE), "oci", tag)


LAYOUT = DirectoryKind(_layout, lambda root: root.exists("index.json"))
ARCHIVE = ArchiveKind(lambda files, tag: LayoutFinder(files, "oci-archive", tag), "index.json")
