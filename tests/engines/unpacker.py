"""Images unpacked by each snapshotter of containerd, and as a container sees them.

What containerd 2.2 does with its snapshotter erofs is done here where a containerd has none: internal/erofsutils.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from imgfs.digest import ChainID, DiffID
from imgfs.layers import chain_ids
from tests.engines.containerd import Containerd
from tests.engines.engine import run
from tests.erofs.images import make_image_of_tar, mounted_image
from tests.images import TestImage
from tests.sources.containerd.bolt_files import Tree, database_of

OVERLAYFS, NATIVE, EROFS, EROFS_TAR_INDEX = "overlayfs", "native", "erofs", "erofs with tars"
SNAPSHOTTERS = (OVERLAYFS, NATIVE, EROFS, EROFS_TAR_INDEX)

CONFIG = """
[plugins."io.containerd.service.v1.diff-service"]
default = ["erofs", "walking"]
"""
"""What has a containerd that has the snapshotter erofs make its layers by mkfs.erofs of their tars."""

_DISCARD = "--discard-unpacked-layers"
_OPTIONS = {EROFS: ["--tar=f", "-Enoinline_data"], EROFS_TAR_INDEX: ["--tar=i"]}


class Unpacker:
    """Unpacks images into the snapshots of one of SNAPSHOTTERS."""

    def __init__(self, containerd: Containerd, snapshotter: str) -> None:
        self._containerd = containerd
        self._snapshotter = snapshotter
        known = containerd.ctr("plugins", "ls")
        self._is_own = snapshotter in known.split()
        self._folder = containerd.root / "io.containerd.snapshotter.v1.erofs"
        self.has_discarded = False
        """Whether containerd itself was left to discard the blobs of the layers that it unpacked."""
        self._made: dict[bytes, Tree | bytes] = {}

    def unpack(
        self, image: TestImage, archive: Path, namespace: str = "default", *, discards: bool = True
    ) -> None:
        """Import an archive that holds the image; if it `discards`, containerd need not keep the blobs of layers."""
        if self._is_own:
            options = ["--snapshotter", self._snapshotter]
            # containerd 2 asks itself otherwise, and unpacks with snapshotters of its configuration alone
            known = self._containerd.ctr("images", "import", "--help").split()
            wanted = ["--local", _DISCARD] if discards else ["--local"]
            options += [option for option in wanted if option in known]
            self.has_discarded = _DISCARD in options
            self._containerd.ctr("images", "import", *options, archive, namespace=namespace)
            return
        self._containerd.load(archive, namespace=namespace)
        for chain_id, layer in zip(_chain_ids(image), image.layers, strict=True):
            number = len(self._made) + 1
            made = self._folder / f"snapshots/{number}"
            made.mkdir(parents=True)
            make_image_of_tar(made / "layer.erofs", layer, _OPTIONS[self._snapshotter])
            key = f"{namespace}/{number}/{chain_id}".encode()
            self._made[key] = {b"id": bytes([number]), b"kind": b"\x03", b"size": b"\x80\x80\x01"}
        database = database_of({b"v1": {b"snapshots": self._made}})
        (self._folder / "metadata.db").write_bytes(database)

    @contextmanager
    def mounted(self, name: str, folder: Path) -> Iterator[Path]:
        """What a container of the image that was unpacked first sees; `folder` is a new one."""
        folder.mkdir()
        if self._is_own:
            options = "--snapshotter", self._snapshotter
            self._containerd.ctr("images", "mount", *options, name, folder)
            try:
                yield self._containerd.inside.seen(folder)
            finally:
                self._containerd.ctr("images", "unmount", *options, folder)
            return
        with ExitStack() as mounts:
            tops = [
                str(mounts.enter_context(mounted_image(made / "layer.erofs", folder / made.name)))
                for made in sorted((self._folder / "snapshots").iterdir(), reverse=True)
            ]
            top = folder / "top"
            top.mkdir()
            run("mount", "-t", "overlay", "-o", f"lowerdir={':'.join(tops)}", "overlay", top)
            try:
                yield top
            finally:
                run("umount", top)


def _chain_ids(image: TestImage) -> list[ChainID]:
    return list(chain_ids([DiffID.of(layer) for layer in image.layers]))
