"""Images of an OCI image layout, in a directory or inside an archive.

Format: OCI image specification, image-layout.md; what lies below its index is `manifests`' to follow.
"""

from collections.abc import Iterable, Iterator
from functools import partial

from imgfs.blob import Blob, FileBlob, Links, Root
from imgfs.digest import Digest
from imgfs.errors import InvalidImage
from imgfs.layers import Indexer
from imgfs.sources.catalog import CatalogSource, Found, Report
from imgfs.sources.checks import named_blobs
from imgfs.sources.choosing import chosen
from imgfs.sources.documents import MAX_LIST, parse_document, parse_items, read_document
from imgfs.sources.files import ArchiveFiles, Files
from imgfs.sources.manifests import Descriptor, Document, ManifestWalk, this_platform_first
from imgfs.sources.source import Check, Source


def open_layout(path: str, tag: str | None, indexer: Indexer) -> Source:
    """The source `oci:PATH[:TAG]`; with a tag, only the images it names.

    Raises InvalidImage if `path` is no image layout, OSError if it cannot be read.
    """
    files = Root(path, Links.INSIDE)

    def stamp() -> object:
        files.follow()
        status = files.stat("index.json")
        return status.st_mtime_ns, status.st_ino, status.st_size

    find = partial(find_images, files, path, tag)
    reference = _reference("oci", path, tag)
    checks = partial(_checks, files, path, tag)
    return CatalogSource(
        reference,
        indexer,
        find,
        stamp,
        files.close,
        writers=[files.writer],
        folder=files.path,
        checks=checks,
    )


def open_archive(path: str, tag: str | None, indexer: Indexer) -> Source:
    """The source `oci-archive:FILE[:TAG]`: a layout in an uncompressed tar, read in place."""
    files = ArchiveFiles(FileBlob(path), path)
    find = partial(find_images, files, path, tag)
    reference = _reference("oci-archive", path, tag)
    try:
        checks = partial(_checks, files, path, tag)
        return CatalogSource(
            reference, indexer, find, lambda: None, files.close, writers=[files.writer], checks=checks
        )
    except BaseException:
        files.close()
        raise


def _reference(scheme: str, path: str, tag: str | None) -> str:
    return f"{scheme}:{path}" + (f":{tag}" if tag else "")


def find_images(files: Files, path: str, tag: str | None, report: Report) -> Iterator[Found]:
    """Everything that the layout's index leads to, in its order; what is broken is reported and left out.

    Raises InvalidImage if there is no readable index, or nothing that `tag` means.
    """
    walk = ManifestWalk(partial(_open_blob, files), path, report)
    for descriptor, tags in _by_digest(this_platform_first(_named(files, path, tag, report))):
        yield from walk.images(descriptor, tags)


def _checks(files: Files, path: str, tag: str | None) -> Iterator[Check]:
    return named_blobs(partial(_open_blob, files), _named(files, path, tag, lambda *_, **__: None))


def _named(files: Files, path: str, tag: str | None, report: Report) -> list[Descriptor]:
    """What the layout's index names, or what of that `tag` means; an odd item is reported."""
    name = f"{path}/index.json"
    index = parse_document(read_document(files.open("index.json"), name, limit=MAX_LIST), Document, name)
    if not index.is_index:
        raise InvalidImage(f"{name}: no manifests")
    listed = parse_items(index.manifests, Descriptor, name, report)
    if tag is not None:
        listed = chosen(listed, tag, lambda descriptor: (*_names(descriptor), f"@{descriptor.digest}"), path)
    return [descriptor for _, descriptor in listed]


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


def _open_blob(files: Files, digest: Digest) -> Blob:
    return files.open(f"blobs/{digest.algorithm}/{digest.hex}")


def _names(descriptor: Descriptor) -> list[str]:
    """What a manifest is called: in full by containerd and Docker, and as the specification has it."""
    return [name for key in _NAME_KEYS if (name := descriptor.annotation(key))]


_NAME_KEYS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
