"""Where our own store keeps what, and how its small records are written and read.

    imgfs-store              the layout's version; what a store is recognised by
    imagedb/                 configs, parents and dates: an `FSBackend`
    layers/sha256/<chain>    one JSON record a layer, by the hex of its chain ID
    blobs/sha256/<hex>       layers' bytes as they came, compressed or not, by the digest of those bytes
    repositories.json        names, as moby writes them
    tmp/<random>/            what one writer is staging; it holds a lock on the folder while it lives
    lock                     held exclusively while a change is made visible; readers take no lock

A change becomes visible bottom up: blobs, layer records, image, names. A writer that is killed on the way leaves
files that nothing refers to, and the next writer sweeps them away.
Tried by the tests of the store and of its writer.
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

import msgspec

from imgfs.blob import MAX_SIZE, FileBlob, Root
from imgfs.decoders import json_decoder
from imgfs.digest import ChainID, DiffID, Digest, ImageID
from imgfs.errors import Corrupt, InvalidDigest, InvalidImage, LayerNotFound, StoreError
from imgfs.layers.chain import stacked
from imgfs.sources.finder import Report
from imgfs.sources.imagedb import dump_repositories, parse_repositories

LAYERS, BLOBS = "layers/sha256", "blobs/sha256"
REPOSITORIES, STAGING = "repositories.json", "tmp"

VERSION_FILE, _VERSION = "imgfs-store", b"1\n"
_MAX_VERSION = 64
_MAX_RECORD = 4096
_MAX_NAMES = 64 << 20


class LayerRecord(msgspec.Struct, rename="camel", frozen=True):
    """A layer in its place: `size` is that of its tar, `blob` the digest of its stored bytes."""

    diff_id: str
    blob: str
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
    parent: str | None = None


class Layout:
    """What lies in the store at `root`; names are those of `files`."""

    def __init__(self, root: str | Root) -> None:
        self.files = root if isinstance(root, Root) else Root(root)
        self.root = self.files.path
        self.imagedb = self.files.below("imagedb")

    @property
    def exists(self) -> bool:
        """Whether a store is there. Raises StoreError if it was made by another version of imgfs, or OSError."""
        try:
            version = self.files.read(VERSION_FILE, _MAX_VERSION)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if version != _VERSION:
            raise StoreError(f"{self.root}: a store of an unknown version, {version.strip()!r}")
        return True

    def create(self) -> None:
        """Make an empty store; does nothing where one is. Raises StoreError or OSError."""
        if self.exists:
            return
        for name in (LAYERS, BLOBS, "imagedb/content/sha256"):
            self.files.folder(name, make=True).close()
        # with the lock, as another process that makes the store at the same time may sweep it already
        with self.files.folder(STAGING, make=True) as staging, self.files.folder() as top, self.lock():
            top.write(VERSION_FILE, _VERSION, staging)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store's exclusive lock, waiting for another process that does."""
        with self.files.folder() as top:
            lock = top.open_lock("lock")
        with lock:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
            yield

    def open_blob(self, digest: Digest) -> FileBlob:
        """A stored blob. Raises StoreError or OSError."""
        return self.files.open(f"{BLOBS}/{digest.hex}")

    def read_record(self, chain_id: ChainID) -> LayerRecord:
        """A layer's record.

        Raises LayerNotFound if there is none, InvalidImage if it does not parse, Corrupt if it is another layer's,
        StoreError or OSError if it cannot be read.
        """
        name = f"{LAYERS}/{chain_id.hex}"
        path = self.files.path_of(name)
        try:
            record = json_decoder(LayerRecord).decode(self.files.read(name, _MAX_RECORD))
        except FileNotFoundError:
            raise LayerNotFound(f"{self.root}: no layer with chain ID {chain_id}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidImage(f"{path} does not parse: {error}") from None
        try:
            Digest(record.blob)
            is_of = stacked(ChainID(record.parent) if record.parent else None, DiffID(record.diff_id))
        except InvalidDigest as error:
            raise InvalidImage(f"{path}: {error}") from None
        if is_of != chain_id:
            raise Corrupt(f"{path}: failed to verify, it is {record.diff_id} on {record.parent}")
        return record

    def write_records(self, records: Mapping[ChainID, LayerRecord]) -> None:
        """Write the records of some layers; their blobs are in place already."""
        files = {key.hex: msgspec.json.encode(record, enc_hook=str) for key, record in records.items()}
        with self.files.folder(LAYERS) as layers, self.files.folder(STAGING) as staging:
            layers.write_all(files, staging)

    def read_tags(self, report: Report) -> dict[str, ImageID]:
        """All names, whether or not their images exist; those that are damaged are reported.

        Raises InvalidImage, StoreError or OSError if none can be read.
        """
        try:
            data = self.files.read(REPOSITORIES, _MAX_NAMES)
        except FileNotFoundError:
            return {}
        names = parse_repositories(data, self.files.path_of(REPOSITORIES), report)
        return {name: image_id for name, image_id in names.items() if "@" not in name}

    def write_tags(self, tags: Mapping[str, ImageID]) -> None:
        """Replace all names; called with the lock held."""
        with self.files.folder() as top, self.files.folder(STAGING) as staging:
            top.write(REPOSITORIES, dump_repositories(tags), staging)

    def set_tags_aside(self) -> None:
        """Keep the names as they are under another name, as some of them cannot be read."""
        with self.files.folder() as top:
            top.rename(REPOSITORIES, top, f"{REPOSITORIES}.damaged")
