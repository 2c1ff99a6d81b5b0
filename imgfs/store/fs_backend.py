"""A store backend in a directory, byte-compatible with moby's `imagedb`.

    content/sha256/<hex>             a config
    metadata/sha256/<hex>/<key>      a value about it: parent, lastUpdated
    staging/                         what is being written

A config appears by one rename, after the values that come with it, and disappears by one unlink, before them:
values without a config are nobody's. Many processes may read at once; one writes at a time.
"""

import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from types import MappingProxyType

from imgfs.digest import ImageID
from imgfs.errors import Corrupt, ImgfsError, InvalidDigest, MetadataNotFound, NotFound, StoreError
from imgfs.store.backend import check_content, check_key
from imgfs.store.files import read_file, remove, sync_directory, write_file
from imgfs.store.image import MAX_CONFIG_SIZE

logger = logging.getLogger("imgfs")

_NOTHING: Mapping[str, bytes] = MappingProxyType({})
_MAX_METADATA_SIZE = 64 << 10
_ABANDONED = 3600  # seconds: whoever stages a file is done with it in a moment


class FSBackend:
    """A `StoreBackend` in the directory `root`, which is made if it is not there.

    With `read_only` nothing is ever made or written, and `root` has to be there. Raises StoreError if it
    cannot be used.
    """

    def __init__(self, root: str | os.PathLike[str], *, read_only: bool = False) -> None:
        self.root = os.path.abspath(root)
        self._read_only = read_only
        self._content = os.path.join(self.root, "content", "sha256")
        self._metadata = os.path.join(self.root, "metadata", "sha256")
        self._staging = os.path.join(self.root, "staging")
        self._lock = Lock()
        if read_only:
            self._check()
        else:
            self._create()

    def walk(self) -> list[ImageID]:
        found = []
        with _failing_as("failed to walk storage backend"), os.scandir(self._content) as entries:
            for entry in entries:
                try:
                    image_id = ImageID.from_hex(entry.name)
                except InvalidDigest as error:
                    logger.debug("%s: skipping: %s", entry.path, error)
                    continue
                if entry.is_file(follow_symlinks=False):
                    found.append(image_id)
                else:
                    logger.debug("%s: skipping: not a regular file", entry.path)
        return sorted(found)

    def get(self, image_id: ImageID) -> bytes:
        with _failing_as(f"failed to get digest {image_id}"):
            try:
                data = read_file(self._config(image_id), MAX_CONFIG_SIZE)
            except FileNotFoundError:
                raise _no_such(image_id) from None
        if ImageID.of(data) != image_id:
            raise Corrupt(f"failed to verify image: {image_id}")
        return data

    def set(self, data: bytes, metadata: Mapping[str, bytes] = _NOTHING) -> ImageID:
        check_content(data)
        image_id = ImageID.of(data)
        path = self._config(image_id)
        with self._writing(f"failed to write digest data {image_id}"):
            is_new = not os.path.lexists(path)
            if is_new:
                remove(self._values(image_id))  # left by somebody who was killed; not to become this one's
            for key, value in metadata.items():
                self._write_value(image_id, key, value)
            if is_new or not self._verifies(image_id):
                write_file(path, data, self._staging)
        return image_id

    def delete(self, image_id: ImageID) -> None:
        with self._writing(f"failed to delete {image_id}"):
            try:
                os.unlink(self._config(image_id))
            except FileNotFoundError:
                raise _no_such(image_id) from None
            sync_directory(self._content)
            try:
                remove(self._values(image_id))
            except OSError as error:  # the image is gone for all that
                logger.warning("%s: metadata of a deleted image stays: %s", error.filename, error.strerror)

    def set_metadata(self, image_id: ImageID, key: str, data: bytes) -> None:
        with self._writing(f"failed to write metadata {key} of {image_id}"):
            self.get(image_id)
            self._write_value(image_id, key, data)

    def get_metadata(self, image_id: ImageID, key: str) -> bytes:
        check_key(key)
        self.get(image_id)
        doing = f"failed to read metadata {key} of {image_id}"
        with _failing_as(doing):
            try:
                return read_file(os.path.join(self._values(image_id), key), _MAX_METADATA_SIZE)
            except FileNotFoundError:
                raise MetadataNotFound(f"{doing}: there is none") from None

    def delete_metadata(self, image_id: ImageID, key: str) -> None:
        check_key(key)
        with self._writing(f"failed to delete metadata {key} of {image_id}"):
            remove(os.path.join(self._values(image_id), key))

    def _check(self) -> None:
        needed = (self.root, os.path.dirname(self._content), self._content)
        optional = (os.path.dirname(self._metadata), self._metadata)
        with _failing_as("failed to open storage backend"):
            for path in (*needed, *filter(os.path.lexists, optional)):
                if not stat.S_ISDIR(os.stat(path).st_mode):
                    raise StoreError(f"{path}: not a directory")

    def _create(self) -> None:
        with _failing_as("failed to create storage backend"):
            try:
                for path in (self.root, self._content, self._metadata, self._staging):
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    os.makedirs(path, exist_ok=True)
            except FileExistsError as error:
                raise StoreError(f"{error.filename}: not a directory") from None
        for entry in list(os.scandir(self._staging)):
            with suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED:
                    os.unlink(entry.path)

    def _config(self, image_id: ImageID) -> str:
        return os.path.join(self._content, _name(image_id))

    def _values(self, image_id: ImageID) -> str:
        return os.path.join(self._metadata, _name(image_id))

    def _verifies(self, image_id: ImageID) -> bool:
        try:
            self.get(image_id)
        except ImgfsError:
            return False
        return True

    def _write_value(self, image_id: ImageID, key: str, data: bytes) -> None:
        check_key(key)
        folder = self._values(image_id)
        if not os.path.isdir(folder):
            os.mkdir(folder)
            sync_directory(self._metadata)
        write_file(os.path.join(folder, key), data, self._staging)

    @contextmanager
    def _writing(self, doing: str) -> Iterator[None]:
        if self._read_only:
            raise StoreError(f"{doing}: {self.root} is opened read-only")
        with self._lock, _failing_as(doing):
            yield


@contextmanager
def _failing_as(doing: str) -> Iterator[None]:
    """Turns what the operating system refuses into a StoreError that says what failed."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{doing}: {error.filename}: {error.strerror}") from error
    except StoreError as error:
        raise StoreError(f"{doing}: {error}") from None


def _name(image_id: ImageID) -> str:
    """The name of an image's file; what is no digest, so that it could lead elsewhere, is no image's."""
    try:
        return ImageID(image_id).hex
    except InvalidDigest as error:
        raise NotFound(f"failed to get digest {image_id}: {error}") from None


def _no_such(image_id: ImageID) -> NotFound:
    return NotFound(f"failed to get digest {image_id}: there is none")
