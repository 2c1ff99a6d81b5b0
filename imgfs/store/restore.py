"""Reading back what a backend has recorded, some of which may be damaged.

What is damaged is left out and logged, each problem once, however often it is met. Nothing is repaired.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from imgfs.digest import ImageID
from imgfs.errors import ImgfsError, InvalidDigest, MetadataNotFound, NotFound
from imgfs.store.backend import KeepsParsed, ListsMetadata, StoreBackend
from imgfs.store.family import rings
from imgfs.store.image import Image
from imgfs.store.kept_document import DocumentPacker
from imgfs.store.problems import Problem, Problems


class Restorer:
    """Reads from `backend` and remembers what it has reported."""

    def __init__(self, backend: StoreBackend) -> None:
        self._backend = backend
        self._parsed = backend.parsed if isinstance(backend, KeepsParsed) else None
        self._problems = Problems()
        self._packer = DocumentPacker()

    @property
    def problems(self) -> Sequence[Problem]:
        """What was reported since the last `begin`."""
        return list(self._problems)

    def begin(self) -> None:
        """Read everything again: problems that do not come up again are none any more."""
        self._problems = self._problems.begin()

    def image(self, image_id: ImageID, parent: ImageID | None = None) -> Image | None:
        """An image, to have this parent; None if its config is not what it should be, or is gone by now."""
        image = self._parsed(image_id) if self._parsed is not None else None
        if image is not None:
            return image if image.parent == parent else replace(image, parent=parent)
        try:
            return Image.from_config(self._backend.get(image_id), parent, self._packer.keep)
        except NotFound:
            return None
        except ImgfsError as error:
            self.report(f"skipping image {image_id}: {error}", image=image_id)
            return None

    def parents(self, image_ids: Iterable[ImageID]) -> dict[ImageID, ImageID]:
        """The recorded parents of some images; in a ring of them, the ID that sorts first has none, which is logged."""
        parents = read_parents(self._backend, image_ids, self.report)
        for ring in list(rings(parents)):
            first = min(ring)
            self._problems.note(f"image {first}: ignoring its parent {parents[first]}, which is based on it")
            del parents[first]
        return parents

    def report(self, text: str, *, image: str = "") -> None:
        """List a problem, one that keeps `image` from being shown if that is given."""
        self._problems.report(text, image=image)


def read_parents(
    backend: StoreBackend, image_ids: Iterable[ImageID], report: Callable[[str], object]
) -> dict[ImageID, ImageID]:
    """The recorded parent of each of some images that has one; those that cannot be read are reported."""
    described = _with_metadata(backend, report)
    asked = image_ids if described is None else (each for each in image_ids if each in described)
    return {image_id: parent for image_id in asked if (parent := _read_parent(backend, image_id, report))}


def _read_parent(backend: StoreBackend, image_id: ImageID, report: Callable[[str], object]) -> ImageID | None:
    """The recorded parent of an image; None if there is none, or none that can be read, which is reported."""
    try:
        data = backend.get_metadata(image_id, "parent")
        return ImageID(data.decode("ascii", "replace").strip()) if data else None
    except (MetadataNotFound, NotFound):
        return None
    except InvalidDigest as error:
        report(f"image {image_id}: its parent is not readable: {error}")
        return None
    except ImgfsError as error:
        report(f"image {image_id}: {error}")
        return None


def _with_metadata(backend: StoreBackend, report: Callable[[str], object]) -> Collection[ImageID] | None:
    """The images that may have values about them, such as a parent; None if all may."""
    if not isinstance(backend, ListsMetadata):
        return None
    try:
        return backend.with_metadata()
    except ImgfsError as error:
        report(f"recorded parents are not known: {error}")
        return ()
