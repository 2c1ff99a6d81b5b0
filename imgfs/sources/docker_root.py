"""Where Docker keeps what in its data root, when it keeps images by itself and not in containerd.

    image/<driver>/imagedb/                  configs, parents and dates: an `FSBackend`
    image/<driver>/layerdb/sha256/<chain>/   a layer: diff, parent, cache-id, tar-split.json.gz
    image/<driver>/repositories.json         names
    overlay2/<cache-id>/diff/                a layer's files; vfs/dir/<cache-id>/ holds those of the layers below too

Format: moby, `image/fs.go`, `layer/filestore.go`, `reference/store.go`. Everything is read without locks while the
engine writes: a file appears by rename.
"""

import os
import re
from collections.abc import Mapping

from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.errors import Corrupt, InvalidDigest, LayerNotFound, StoreError
from imgfs.layers import SplitLayer, SplitPlace, Splits
from imgfs.layers.chain import stacked
from imgfs.sources.repositories import parse_repositories
from imgfs.store.files import read_file

FILES: Mapping[str, str] = {
    "overlay2": "overlay2/{}/diff",
    "fuse-overlayfs": "fuse-overlayfs/{}/diff",
    "vfs": "vfs/dir/{}",
}
"""Where each storage driver that can be read keeps the files of a layer, by its cache ID."""

_MAX_RECORD = 4096
_MAX_NAMES = 64 << 20
_CACHE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def drivers(root: str) -> list[str]:
    """The storage drivers with images in a data root, those of FILES first. Raises OSError."""
    try:
        names = os.listdir(os.path.join(root, "image"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [name for name in names if os.path.isdir(os.path.join(root, "image", name, "imagedb"))]
    order = list(FILES)
    return sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))


class DriverStore:
    """What one storage driver of the data root `root` has."""

    def __init__(self, root: str, driver: str) -> None:
        self.driver = driver
        self._root = root
        self._folder = os.path.join(root, "image", driver)
        self.imagedb = os.path.join(self._folder, "imagedb")
        self._names = os.path.join(self._folder, "repositories.json")

    @property
    def watched(self) -> list[str]:
        """The paths whose modification times change with the images."""
        kinds = ("content", "metadata")
        return [self._names, *(os.path.join(self.imagedb, kind, "sha256") for kind in kinds)]

    def read_tags(self) -> dict[str, ImageID]:
        """Names with a tag, whether or not their images exist. Raises InvalidImage, StoreError or OSError."""
        try:
            data = read_file(self._names, _MAX_NAMES)
        except FileNotFoundError:
            return {}
        tags = {}
        for name, digest in parse_repositories(data, self._names):
            if "@" not in name:
                try:
                    tags[name] = ImageID(digest)
                except InvalidDigest as error:
                    raise StoreError(f"{self._names}: {name!r}: {error}") from None
        return tags

    def layer(self, chain_id: ChainID, splits: Splits) -> SplitLayer:
        """A layer. Raises LayerNotFound if there is none, StoreError or Corrupt if its records are wrong."""
        diff, below = self._record(chain_id, "diff"), self._record(chain_id, "parent")
        if diff is None:
            raise LayerNotFound(f"{self._folder}: no layer with chain ID {chain_id}")
        try:
            diff_id, parent = DiffID(diff), ChainID(below) if below else None
        except InvalidDigest as error:
            raise Corrupt(f"{self._folder}: layer {chain_id}: {error}") from None
        if stacked(parent, diff_id) != chain_id:
            raise Corrupt(f"{self._folder}: layer {chain_id}: failed to verify, it is {diff_id} on {parent}")
        return SplitLayer(chain_id, diff_id, parent, lambda: self._locate(chain_id), splits)

    def _locate(self, chain_id: ChainID) -> SplitPlace:
        cache_id = self._record(chain_id, "cache-id")
        if cache_id is None:
            raise LayerNotFound(f"{self._folder}: no layer with chain ID {chain_id}")
        if not _CACHE_ID.fullmatch(cache_id):
            raise Corrupt(f"{self._folder}: layer {chain_id}: {cache_id!r} is no cache ID")
        files = os.path.join(self._root, FILES[self.driver].format(cache_id))
        return SplitPlace(self._path(chain_id, "tar-split.json.gz"), files)

    def _record(self, chain_id: ChainID, name: str) -> str | None:
        try:
            return read_file(self._path(chain_id, name), _MAX_RECORD).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None

    def _path(self, chain_id: ChainID, name: str) -> str:
        return os.path.join(self._folder, "layerdb", chain_id.algorithm, chain_id.hex, name)
