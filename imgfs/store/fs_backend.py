"""A store backend in a directory, byte-compatible with moby's `imagedb`.

    content/sha256/<hex>             a config
    metadata/sha256/<hex>/<key>      a value about it: parent, lastUpdated
    staging/                         what is being written

A config appears by one rename, after the values that come with it, and disappears by one unlink, before them:
values without a config belong to no image. Many processes may read at once; one writes at a time.
"""

import logging
import os
import stat
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from types import MappingProxyType

from imgfs.blob import Folder, Root
from imgfs.blob.stamp import FileStamp, recently_modified
from imgfs.digest import ImageID
from imgfs.errors import Corrupt, ImgfsError, InvalidDigest, MetadataNotFound, NotFound, StoreError
from imgfs.store.backend import check_content, check_key
from imgfs.store.image import MAX_CONFIG_SIZE

logger = logging.getLogger("imgfs")

_CONTENT, _METADATA, _STAGING = "content/sha256", "metadata/sha256", "staging"
_NOTHING: Mapping[str, bytes] = MappingProxyType({})
_MAX_METADATA_SIZE = 64 << 10
_ABANDONED = 3600  # seconds: a file that is being staged is done in a moment


class FSBackend:
    """A `StoreBackend` in the directory `root`, which is made if it is not there.

    With `read_only` nothing is ever made or written, and `root` has to be there. Raises StoreError if it
    cannot be used.
    """

    def __init__(self, root: str | os.PathLike[str] | Root, *, read_only: bool = False) -> None:
        self._files = root if isinstance(root, Root) else Root(root)
        self._read_only = read_only
        self._lock = Lock()
        self._verified: dict[ImageID, bytes] = {}  # their packed stamps as they were when they were read
        if read_only:
            self._check()
        else:
            self._create()

    def walk(self) -> list[ImageID]:
        self._files.follow()
        with _failing_as("failed to walk storage backend"):
            return sorted(self._ids(_CONTENT))

    def with_metadata(self) -> Collection[ImageID]:
        with _failing_as("failed to walk metadata of the storage backend"):
            try:
                return set(self._ids(_METADATA))
            except FileNotFoundError:  # before the first value there may be no folder
                return set()

    def get(self, image_id: ImageID) -> bytes:
        try:
            with self._files.open(_config(image_id)) as file:
                if file.size > MAX_CONFIG_SIZE:
                    raise StoreError(f"{file.path}: larger than {MAX_CONFIG_SIZE} bytes")
                data = file.pread(file.size, 0)
        except FileNotFoundError:
            raise _no_such(image_id) from None
        except (OSError, StoreError) as error:
            raise _failure(f"failed to get digest {image_id}", error) from error
        if ImageID.of(data) != image_id:
            raise Corrupt(f"failed to verify image: {image_id}")
        if not recently_modified([file.status.st_mtime_ns]):
            self._verified[image_id] = FileStamp.of(file.status).packed
        return data

    def has(self, image_id: ImageID) -> bool:
        """Whether there is a config, sound or not. Raises StoreError."""
        with _failing_as(f"failed to get digest {image_id}"):
            return self._files.exists(_config(image_id))

    def set(self, data: bytes, metadata: Mapping[str, bytes] = _NOTHING) -> ImageID:
        return self.set_all([(data, metadata)])[0]

    def set_all(self, configs: Sequence[tuple[bytes, Mapping[str, bytes]]]) -> list[ImageID]:
        """Keep several configs and values about them, as `set` does each."""
        for data, _ in configs:
            check_content(data)
        image_ids = [ImageID.of(data) for data, _ in configs]
        new: dict[str, bytes] = {}
        doing = f"failed to write digest data {', '.join(image_ids[:2])}"
        with self._writing(doing), self._folder(_CONTENT) as content:
            for image_id, (data, metadata) in zip(image_ids, configs, strict=True):
                is_new = not _is_there(content, image_id.hex)
                if is_new:
                    with self._folder(_METADATA) as values:
                        # left by a process that was killed; not to become this one's
                        values.remove(image_id.hex)
                for key, value in metadata.items():
                    self._write_value(image_id, key, value)
                if is_new or not self._verifies(image_id):
                    new[image_id.hex] = data
            with self._folder(_STAGING) as staging:
                content.write_all(new, staging)
        return image_ids

    def delete(self, image_id: ImageID) -> None:
        name = _name(image_id)
        with self._writing(f"failed to delete {image_id}"), self._folder(_CONTENT) as content:
            try:
                content.unlink(name)
            except FileNotFoundError:
                raise _no_such(image_id) from None
            content.sync()
            self._verified.pop(image_id, None)
            try:
                with self._folder(_METADATA) as values:
                    values.remove(name)
                    values.sync()
            except OSError as error:  # the image is gone for all that
                logger.warning("%s: metadata of a deleted image stays: %s", error.filename, error.strerror)

    def set_metadata(self, image_id: ImageID, key: str, data: bytes) -> None:
        with self._writing(f"failed to write metadata {key} of {image_id}"):
            self._verify(image_id)
            self._write_value(image_id, key, data)

    def get_metadata(self, image_id: ImageID, key: str) -> bytes:
        check_key(key)
        self._verify(image_id)
        doing = f"failed to read metadata {key} of {image_id}"
        with _failing_as(doing):
            try:
                return self._files.read(f"{_METADATA}/{_name(image_id)}/{key}", _MAX_METADATA_SIZE)
            except FileNotFoundError:
                raise MetadataNotFound(f"{doing}: there is none") from None

    def delete_metadata(self, image_id: ImageID, key: str) -> None:
        check_key(key)
        with self._writing(f"failed to delete metadata {key} of {image_id}"), suppress(FileNotFoundError):
            with self._folder(f"{_METADATA}/{_name(image_id)}") as values:
                values.remove(key)
                values.sync()

    def _ids(self, folder: str) -> Iterator[ImageID]:
        """The IDs that are names in a folder. Raises OSError."""
        with self._files.scan(folder) as entries:
            for entry in entries:
                try:
                    yield ImageID.from_hex(entry.name)
                except InvalidDigest as error:
                    logger.debug("%s: skipping: %s", self._files.path_of(folder), error)

    def _check(self) -> None:
        with _failing_as("failed to open storage backend"):
            for name in ("", "content", _CONTENT, "metadata", _METADATA):
                try:
                    self._files.folder(name).close()
                except NotADirectoryError as error:
                    raise StoreError(f"{error.filename}: not a directory") from None
                except FileNotFoundError:
                    if not name.startswith("metadata"):
                        raise

    def _create(self) -> None:
        with _failing_as("failed to create storage backend"):
            try:
                for name in (_CONTENT, _METADATA):
                    self._files.folder(name, make=True).close()
                staging = self._files.folder(_STAGING, make=True)
            except NotADirectoryError as error:
                raise StoreError(f"{error.filename}: not a directory") from None
            with staging:
                for entry in staging.scan():
                    with suppress(OSError):
                        if time.time() - staging.stat(entry.name).st_mtime > _ABANDONED:
                            staging.unlink(entry.name)

    def _folder(self, name: str) -> Folder:
        return self._files.folder(name)

    def _verify(self, image_id: ImageID) -> None:
        """Raise as `get` does unless a config is there and sound; one that has not changed is not read again."""
        known = self._verified.get(image_id)
        if known is not None:
            with suppress(OSError, StoreError):  # reading it says why
                if FileStamp.of(self._files.stat(_config(image_id))).packed == known:
                    return
        self.get(image_id)

    def _verifies(self, image_id: ImageID) -> bool:
        try:
            self.get(image_id)
        except ImgfsError:
            return False
        return True

    def _write_value(self, image_id: ImageID, key: str, data: bytes) -> None:
        check_key(key)
        with self._folder(_METADATA) as metadata, self._folder(_STAGING) as staging:
            name = _name(image_id)
            if not _is_directory(metadata, name):
                metadata.remove(name)
            with metadata.folder(name, make=True) as values:
                values.write(key, data, staging)

    @contextmanager
    def _writing(self, doing: str) -> Iterator[None]:
        if self._read_only:
            raise StoreError(f"{doing}: {self._files.path} is opened read-only")
        with self._lock, _failing_as(doing):
            yield


@contextmanager
def _failing_as(doing: str) -> Iterator[None]:
    """Turns what the operating system refuses into a StoreError that says what failed."""
    try:
        yield
    except (OSError, StoreError) as error:
        raise _failure(doing, error) from error


def _failure(doing: str, error: OSError | StoreError) -> StoreError:
    why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
    return StoreError(f"{doing}: {why}")


def _is_directory(folder: Folder, name: str) -> bool:
    return _is_there(folder, name) and stat.S_ISDIR(folder.stat(name).st_mode)


def _is_there(folder: Folder, name: str) -> bool:
    try:
        folder.stat(name)
    except FileNotFoundError:
        return False
    return True


def _config(image_id: ImageID) -> str:
    return f"{_CONTENT}/{_name(image_id)}"


def _name(image_id: ImageID) -> str:
    """The name of an image's file; what is no digest, so that it could lead elsewhere, is no image's."""
    try:
        return ImageID(image_id).hex
    except InvalidDigest as error:
        raise NotFound(f"failed to get digest {image_id}: {error}") from None


def _no_such(image_id: ImageID) -> NotFound:
    return NotFound(f"failed to get digest {image_id}: there is none")
