"""Where Docker keeps what in its data root, when it keeps images by itself and not in containerd.

    image/<driver>/imagedb/                  configs, parents and dates: an `FSBackend`
    image/<driver>/layerdb/sha256/<chain>/   a layer: diff, parent, cache-id, size, tar-split.json.gz
    image/<driver>/repositories.json         names
    overlay2/<cache-id>/diff/                a layer's files; vfs/dir/<cache-id>/ holds those of the layers below too

Format: moby, `image/fs.go`, `layer/filestore.go`, `reference/store.go`. Everything is read without locks while the
engine writes: a file appears by rename.
Tried by the tests of the store.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from imgfs.blob import Root
from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.errors import Corrupt, InvalidDigest, LayerNotFound
from imgfs.layers import SplitLayer, SplitPlace, Splits
from imgfs.layers.chain import stacked
from imgfs.sources.documents import MAX_LAYERS
from imgfs.sources.finder import Report
from imgfs.sources.imagedb import parse_repositories

FILES: Mapping[str, str] = {
    "overlay2": "overlay2/{}/diff",
    "fuse-overlayfs": "fuse-overlayfs/{}/diff",
    "vfs": "vfs/dir/{}",
}
"""Where each storage driver that can be read keeps the files of a layer, by its cache ID."""

MERGED = ("vfs",)
"""The storage drivers whose directories hold the files of the layers below, too."""

_MAX_RECORD = 4096
_MAX_NAMES = 64 << 20
_CACHE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def drivers(root: Root) -> list[str]:
    """The storage drivers with images in a data root, those of FILES first. Raises StoreError or OSError."""
    try:
        names = root.names("image")
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [name for name in names if root.exists(f"image/{name}/imagedb")]
    order = list(FILES)
    return sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))


@dataclass(frozen=True, slots=True)
class Mount:
    """The layers of a container: the chain ID of its image's, None if that has none, and the cache IDs of its own.

    `init_id` is "" where there is no such layer.
    """

    parent: ChainID | None
    init_id: str
    mount_id: str


class DriverStore:
    """What one storage driver of the data root `root` has."""

    def __init__(self, root: Root, driver: str) -> None:
        self.driver = driver
        self._root = root
        self._folder = f"image/{driver}"
        self._names = f"{self._folder}/repositories.json"

    @property
    def imagedb(self) -> Root:
        """The directory of its `FSBackend`."""
        return self._root.below(f"{self._folder}/imagedb")

    @property
    def watched(self) -> list[str]:
        """The names of what has a modification time that changes with the images."""
        kinds = ("content", "metadata")
        return [self._names, *(f"{self._folder}/imagedb/{kind}/sha256" for kind in kinds)]

    def read_names(self, report: Report) -> dict[str, ImageID]:
        """Names with a tag or a digest, whether or not their images exist; what is damaged is reported.

        Raises InvalidImage, StoreError or OSError if none can be read.
        """
        try:
            data = self._root.read(self._names, _MAX_NAMES)
        except FileNotFoundError:
            return {}
        return parse_repositories(data, self._root.path_of(self._names), report)

    def layer(self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, splits: Splits) -> SplitLayer:
        """A layer, whose records are read each time it is opened. Raises LayerNotFound if there is none, or OSError.

        Opening it raises LayerNotFound, StoreError or Corrupt if its records are missing or wrong.
        """
        # thousands are looked for at once; one that came since the listing is found by its name
        if chain_id.hex not in self._listed and not self._root.exists(self._record_name(chain_id, "diff")):
            raise self._no_layer(chain_id)
        return SplitLayer(chain_id, diff_id, parent, self._locate, splits, self._read_size)

    @property
    def mounts(self) -> str:
        """The path of its records of containers."""
        return self._root.path_of(f"{self._folder}/layerdb/mounts")

    def mount(self, container_id: str) -> Mount | None:
        """The layers of a container, None if they are not recorded. Raises Corrupt, StoreError or OSError."""
        records = {
            name: self._read(f"{self._folder}/layerdb/mounts/{container_id}/{name}")
            for name in ("parent", "init-id", "mount-id")
        }
        mount_id = records["mount-id"]
        if mount_id is None:
            return None
        try:
            parent = ChainID(records["parent"]) if records["parent"] else None
        except InvalidDigest as error:
            raise Corrupt(f"{self.mounts}/{container_id}: {error}") from None
        return Mount(parent, records["init-id"] or "", mount_id)

    def files(self, cache_id: str) -> str:
        """The name of the directory of a layer's files. Raises Corrupt."""
        if not _CACHE_ID.fullmatch(cache_id):
            raise Corrupt(f"{self._path}: {cache_id[:64]!r} is no cache ID")
        return FILES[self.driver].format(cache_id)

    def stack(self, top: ChainID | None) -> list[tuple[ChainID, DiffID]]:
        """The layers down from `top`, bottom first, of which no image need be left.

        Raises LayerNotFound, Corrupt, StoreError or OSError.
        """
        stack: list[tuple[ChainID, DiffID]] = []
        while top is not None:
            if len(stack) > MAX_LAYERS:
                raise Corrupt(f"{self._path}: layer {top}: its stack does not end")
            diff_id, below = self._identity(top)
            stack.append((top, diff_id))
            top = below
        return stack[::-1]

    @cached_property
    def _listed(self) -> set[str]:
        """The hex of the chain IDs of all layers there are."""
        try:
            return set(self._root.names(f"{self._folder}/layerdb/sha256"))
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def _locate(self, chain_id: ChainID) -> SplitPlace:
        self._identity(chain_id)
        cache_id = self._record(chain_id, "cache-id")
        if cache_id is None:
            raise self._no_layer(chain_id)
        if not _CACHE_ID.fullmatch(cache_id):
            raise Corrupt(f"{self._path}: layer {chain_id}: {cache_id[:64]!r} is no cache ID")
        tar_split = self._record_name(chain_id, "tar-split.json.gz")
        return SplitPlace(self._root, tar_split, FILES[self.driver].format(cache_id))

    def _identity(self, chain_id: ChainID) -> tuple[DiffID, ChainID | None]:
        """The diff ID of a layer and the chain ID of the one below, which are what its own chain ID says."""
        diff, below = self._record(chain_id, "diff"), self._record(chain_id, "parent")
        if diff is None:
            raise self._no_layer(chain_id)
        try:
            diff_id, parent = DiffID(diff), ChainID(below) if below else None
        except InvalidDigest as error:
            raise Corrupt(f"{self._path}: layer {chain_id}: {error}") from None
        if stacked(parent, diff_id) != chain_id:
            raise Corrupt(f"{self._path}: layer {chain_id}: failed to verify, it is {diff_id} on {parent}")
        return diff_id, parent

    def _read_size(self, chain_id: ChainID) -> int | None:
        """The size of a layer's files, which docker shows; None if it is not recorded."""
        text = self._record(chain_id, "size")
        return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text) else None

    def _no_layer(self, chain_id: ChainID) -> LayerNotFound:
        return LayerNotFound(f"{self._path}: no layer with chain ID {chain_id}")

    def _record(self, chain_id: ChainID, name: str) -> str | None:
        return self._read(self._record_name(chain_id, name))

    def _read(self, name: str) -> str | None:
        try:
            data = self._root.read(name, _MAX_RECORD)
            return data.decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None

    def _record_name(self, chain_id: ChainID, name: str) -> str:
        return f"{self._folder}/layerdb/{chain_id.algorithm}/{chain_id.hex}/{name}"

    @property
    def _path(self) -> str:
        return self._root.path_of(self._folder)
