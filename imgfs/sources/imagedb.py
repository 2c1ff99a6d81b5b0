"""Images as Docker's store and ours keep them: configs and parents in an `imagedb`, names in `repositories.json`.

Format: moby, `image/fs.go`, which `FSBackend` reads, and `reference/store.go`: by repository, by full name, the ID of
the image. Each name is read by itself: one that is damaged is reported, and the others are there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import msgspec

from imgfs.digest import ImageID
from imgfs.errors import Corrupt, ImgfsError, InvalidDigest, NotFound
from imgfs.sources.documents import parse_document
from imgfs.sources.finder import Check, FoundImage, LayerRef, Report
from imgfs.store import DocumentPacker, Image, StoreBackend
from imgfs.store.restore import read_parents


class ImageDatabase:
    """The images of a place as they were found last; their configs are not read again."""

    def __init__(self) -> None:
        self._images: dict[ImageID, Image] = {}
        self._parents: Mapping[ImageID, ImageID] = {}
        self._layers: dict[ImageID, Sequence[LayerRef]] = {}
        self._packer = DocumentPacker()

    def find(
        self,
        backend: StoreBackend,
        read_names: Callable[[Report], Mapping[str, ImageID]],
        layers: Callable[[Image], Sequence[LayerRef]],
        report: Report,
    ) -> Iterator[FoundImage]:
        """Every image in `backend`, with its names and its layers, which `layers` is asked for once.

        Those that are damaged are reported, and so are names of images that are not there. Raises StoreError.
        """
        found = read_names(report)
        names, digests = (
            {name: found[name] for name in found if ("@" in name) == wanted} for wanted in (False, True)
        )
        called, aliases = _by_image(names), _by_image(digests)
        images, damaged = self._read(backend, called, report)
        self._parents = read_parents(backend, images, report)
        self._images = images
        self._report_absent(names.keys() - damaged, names, read_names, report)
        known, self._layers = self._layers, {}
        for image_id, image in images.items():
            self._layers[image_id] = known.get(image_id) or layers(image)
            tags = called.get(image_id, ())
            recorded = aliases.get(image_id, ())
            manifests = [*recorded, *(f"@{name.rpartition('@')[2]}" for name in recorded)]
            yield FoundImage(
                image, self._layers[image_id], tags, self._parents.get(image_id), aliases=manifests
            )

    def checks(self) -> Iterator[Check]:
        """The parent of each image that has one, which has to be there: engines remove both together."""
        for image_id, parent in self._parents.items():
            yield Check(f"parent {parent} of image {image_id}", partial(self._check_parent, image_id, parent))

    def _read(
        self, backend: StoreBackend, called: Mapping[ImageID, list[str]], report: Report
    ) -> tuple[dict[ImageID, Image], set[str]]:
        """The images, and the names of those that are damaged."""
        images, damaged = {}, set[str]()
        for image_id in backend.walk():
            try:
                image = self._images.get(image_id)
                if image is None:
                    image = Image.from_config(backend.get(image_id), keep=self._packer.keep)
                images[image.id] = image  # the backend returns it only if that is its ID
            except NotFound:  # removed since
                continue
            except ImgfsError as error:
                names = called.get(image_id, ())
                report(f"skipping image {image_id}: {error}", image=image_id, names=names)
                damaged.update(names)
        return images, damaged

    def _report_absent(
        self,
        unexplained: Iterable[str],
        names: Mapping[str, ImageID],
        read_names: Callable[[Report], Mapping[str, ImageID]],
        report: Report,
    ) -> None:
        """Report names of images that are not there.

        A process that removes an image takes its names away first, so names that are gone when they are read again do
        not count.
        """
        absent = {name: names[name] for name in unexplained if names[name] not in self._images}
        again = read_names(report) if absent else {}
        still = {name: of for name, of in sorted(absent.items()) if again.get(name) == of}
        for image_id, called in _by_image(still).items():
            more = f" and {len(called) - 1} more" if len(called) > 1 else ""
            line = f"image {image_id} ({called[0]}{more}) is not there: its config is missing"
            report(line, image=image_id, names=called)

    def _check_parent(self, image_id: ImageID, parent: ImageID) -> None:
        if parent not in self._images:
            raise Corrupt(f"image {image_id}: its recorded parent {parent} is not there")


class _Document(msgspec.Struct, rename={"repositories": "Repositories"}):
    repositories: dict[str, object] | msgspec.UnsetType | None = msgspec.UNSET


def parse_repositories(data: bytes, path: str, report: Report) -> dict[str, ImageID]:
    """Each name with its image: names with a tag, and among them `REPOSITORY@DIGEST`, the digest of a manifest.

    What is damaged is reported and skipped. Raises InvalidImage naming `path` if all is.
    """
    names: dict[str, ImageID] = {}
    document = parse_document(data, _Document, path)
    for repository, inside in (document.repositories or {}).items():
        if not isinstance(inside, dict):
            report(f"{path}: the names of {repository!r} are damaged")
            continue
        for name, digest in inside.items():
            is_digest = name.startswith(f"{repository}@")
            try:
                names[name] = ImageID(str(digest))
            except InvalidDigest as error:
                if not is_digest:
                    report(f"{path}: {name!r}: {error}", names=[name])
                continue
            if not is_digest and _repository(name) != repository:
                report(f"{path}: {name!r} is no name in {repository!r}", image=names.pop(name), names=[name])
    return names


def dump_repositories(names: Mapping[str, str]) -> bytes:
    """The document with these names, sorted."""
    repositories: dict[str, dict[str, str]] = {}
    for name, image_id in sorted(names.items()):
        repositories.setdefault(_repository(name), {})[name] = image_id
    return msgspec.json.encode(_Document({**repositories}), enc_hook=str)


def _repository(name: str) -> str:
    """What stands before a name's tag; a layout's names may be tags alone."""
    return name.rpartition(":")[0]


def _by_image(names: Mapping[str, ImageID]) -> dict[ImageID, list[str]]:
    found: dict[ImageID, list[str]] = {}
    for name, image_id in names.items():
        found.setdefault(image_id, []).append(name)
    return found
