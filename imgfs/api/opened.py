"""Images and their layers, for Python programs.

Errors are ImgfsError, see `imgfs.errors`, or OSError.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import cached_property
from typing import Any, BinaryIO, Self, cast

from imgfs.api.path import ImagePath
from imgfs.blob import Blob
from imgfs.blob.stream import BlobStream
from imgfs.cache import DEFAULT_LIMIT, Cache, default_folder
from imgfs.digest import DiffID
from imgfs.errors import ImgfsError
from imgfs.rootfs import Difference, RootFS, differences
from imgfs.sources.chosen import ChosenImage
from imgfs.sources.lookup import choose, image_meant, open_sources
from imgfs.sources.opening import Opening
from imgfs.store import LayerStack
from imgfs.tree import Event
from imgfs.view.tars import open_rootfs_tar

Reference = str | os.PathLike[str]


class Layer:
    """A layer of an image."""

    def __init__(self, layers: LayerStack, number: int, root: RootFS) -> None:
        self._layers = layers
        self._number = number
        self._root = root

    @property
    def diff_id(self) -> DiffID:
        """The digest of its tar, as `sha256:<hex>`."""
        return self._layers.diff_ids[self._number]

    @property
    def size(self) -> int:
        """The size of its tar in bytes; a compressed layer is indexed to find out."""
        with self._layers.open_one(self._number) as tar:
            return tar.size

    @property
    def files(self) -> ImagePath:
        """The tree of this layer alone, with whiteouts under their names."""
        return ImagePath(self._root)

    def open(self) -> BinaryIO:
        """Its tar, uncompressed, to be read at any position; the caller closes it."""
        return _stream(self._layers.open_one(self._number))

    def __repr__(self) -> str:
        return f"<imgfs.Layer {self.diff_id}>"


class Image:
    """An image of `Images`, which it can be read as long as."""

    def __init__(self, chosen: ChosenImage) -> None:
        self._chosen = chosen
        self._opened = ExitStack()

    @property
    def id(self) -> str:
        """The digest of its config, as `sha256:<hex>`."""
        return str(self._chosen.image_id)

    @property
    def tags(self) -> Sequence[str]:
        """Its names, such as `debian:12`."""
        return tuple(self._chosen.snapshot.tags_of(self._chosen.image_id))

    @property
    def parent(self) -> str | None:
        """The ID of the image that it is based on: the recorded one or, of an image of Podman, the derived one."""
        parent = self._chosen.snapshot.parents.get(self._chosen.image_id)
        return None if parent is None else str(parent)

    @property
    def created(self) -> datetime | None:
        """When it was made, in UTC."""
        return self._chosen.image.created

    @property
    def raw_config(self) -> bytes:
        """The exact bytes of its config."""
        return self._chosen.image.raw_config

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Its config, parsed: see the OCI image specification, config.md."""
        found: dict[str, Any] = json.loads(self.raw_config)
        return found

    @cached_property
    def layers(self) -> Sequence[Layer]:
        """Its layers, the lowest first."""
        stack = self._chosen.layers
        roots = map(self._opened.enter_context, self._chosen.layer_trees())
        return [Layer(stack, number, root) for number, root in enumerate(roots)]

    @cached_property
    def _root(self) -> RootFS:
        return self._opened.enter_context(self._chosen.root_fs())

    @property
    def rootfs(self) -> ImagePath:
        """The root directory of what a container of it would see."""
        return ImagePath(self._root)

    @cached_property
    def flat_tar(self) -> BinaryIO:
        """Its root file system as one tar, to be read at any position; closed with the image."""
        return self._opened.enter_context(self.open_flat_tar())

    @cached_property
    def rootfs_tar(self) -> BinaryIO:
        """All layer tars as one that tar tools read to its end, to be read at any position; closed with the image."""
        return self._opened.enter_context(self.open_rootfs_tar())

    def open_flat_tar(self) -> BinaryIO:
        """Its root file system as one tar, to be read at any position; the caller closes it."""
        return _stream(self._root.flat_tar())

    def open_rootfs_tar(self, *, verbatim: bool = False) -> BinaryIO:
        """All layer tars as one that tar tools read to its end, or end to end as they are; the caller closes it."""
        return _stream(open_rootfs_tar(self._chosen.store, self._chosen.image_id, verbatim=verbatim))

    def which(self, path: Reference) -> Sequence[Event]:
        """What each layer did to a path, the lowest first; nothing for layers that left it as it was."""
        return self._root.which(path)

    def diff(self, other: "Image") -> Iterator[Difference]:
        """What differs between the root file systems of this image and `other`, by path; times do not count."""
        return differences(self._root, other._root)

    def close(self) -> None:
        """Close what was opened of it; files and tars that are open stay readable."""
        self._opened.close()

    def __repr__(self) -> str:
        return f"<imgfs.Image {self._chosen.image_id.short} {' '.join(self.tags)}>".replace(" >", ">")


class Images:
    """Images of some sources; a context manager, iterated over by image.

    >>> with imgfs.open("docker:", "oci:layout") as images:
    ...     for image in images:
    ...         print(image.id, image.tags)
    ...     print((images["debian:12"].rootfs / "etc/debian_version").read_text())
    """

    def __init__(self, references: Sequence[str], cache: Cache) -> None:
        self._cache = cache
        self._stack = ExitStack()
        self._images: dict[str, Image] = {}
        self._union = self._stack.enter_context(open_sources(references, Opening(cache)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the sources, and what was opened of their images."""
        for image in self._images.values():
            image.close()
        self._stack.close()

    def __len__(self) -> int:
        return len(self._union.snapshot.wanted)

    def __iter__(self) -> Iterator[Image]:
        for image_id in self._union.snapshot.wanted:
            yield self[image_id]

    def __getitem__(self, term: str) -> Image:
        """The image with a name, an ID, or an unambiguous prefix of one. Raises ImageNotFound or AmbiguousID."""
        snapshot = self._union.snapshot
        image_id = snapshot.resolve(term)
        if image_id not in self._images:
            chosen = ChosenImage(term, snapshot, self._cache, None, image_id, snapshot.name_meant(term))
            self._images[image_id] = Image(chosen)
        return self._images[image_id]

    def __contains__(self, term: object) -> bool:
        try:
            return isinstance(term, str) and self[term] is not None
        except ImgfsError:
            return False


def open(*sources: Reference, cache: Reference | None = None, cache_size: int = DEFAULT_LIMIT) -> Images:  # noqa: A001
    """The images of some sources, such as `docker:`, `oci:PATH` or the path of an archive; close them at the end.

    Of one that names an image, such as `docker:app:1`, there are that image and, by their IDs, those that it is based
    on. What is learnt of compressed layers is kept in the directory `cache`, by default that of the command line.

    Raises NotFound, SourceNotFound, StoreError, InvalidImage or OSError.
    """
    return Images([os.fspath(source) for source in sources], _cache(cache, cache_size))


class OpenImage(Image):
    """An image with the sources that it was found in, closed with it; a context manager."""

    def __init__(self, reference: str, cache: Cache) -> None:
        self._stack = ExitStack()
        (chosen,) = self._stack.enter_context(choose(image_meant, [reference], Opening(cache), ["imgfs:"]))
        super().__init__(chosen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        super().close()
        self._stack.close()


def open_image(
    image: Reference, *, cache: Reference | None = None, cache_size: int = DEFAULT_LIMIT
) -> OpenImage:
    """The image that is named as on the command line: by name or ID in any store of the machine, or with its source.

    >>> with imgfs.open_image("docker-archive:app.tar:app:1") as image:
    ...     print(image.config["config"]["Env"])

    Raises NotFound, AmbiguousID, AmbiguousName, InvalidImage, StoreError or OSError.
    """
    return OpenImage(os.fspath(image), _cache(cache, cache_size))


def _cache(path: Reference | None, size: int) -> Cache:
    return Cache(default_folder() if path is None else os.fspath(path), size)


def _stream(blob: Blob) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(BlobStream(blob), 1 << 20))
