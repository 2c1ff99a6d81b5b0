"""Root file systems of layers made in code, and a layer that has no tar."""

import os
import stat
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imgfs.blob import Blob, FileBlob
from imgfs.digest import ChainID, DiffID
from imgfs.errors import StoreError
from imgfs.rootfs import RootFS, TreeCache
from imgfs.store import LayerStack
from imgfs.tar import Member, TarBlob
from imgfs.tree import Tree, build_tree
from tests.store.stores import Layers


def root_fs(*layers: bytes) -> RootFS:
    """What some layer tars make."""
    return root_of(Layers(layers), [DiffID.of(layer) for layer in layers])


def root_of(provider: Layers, diff_ids: Sequence[DiffID]) -> RootFS:
    """What the layers of a provider make."""
    stack = LayerStack(provider, diff_ids)
    stack.take()
    return RootFS.of(stack, TreeCache(None), "image")


@dataclass
class DirectoryLayer:
    """A layer that is kept as a directory of files, and has no tar, as a container's own has none.

    Its files lie end to end in what `open_content` opens.
    """

    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    folder: Path
    known_size: int | None = None
    has_tar: bool = False
    may_have_tar: bool = False
    is_verified: bool = False
    opened: list[str] = field(default_factory=list)

    @property
    def copy(self) -> str:
        return f"directory {self.folder}"

    def look_for_size(self) -> int | None:
        return None

    listed_size = look_for_size

    def open(self) -> TarBlob:
        raise StoreError(f"layer {self.diff_id} is kept as a directory, there is no tar of it")

    def tree(self) -> Tree:
        tree = build_tree((member for member, _ in self._members()), str(self.folder))
        tree.copies[0] = self.copy
        return tree

    def open_content(self, copy: str | None = None) -> Blob:
        if copy != self.copy:
            raise StoreError(f"layer {self.diff_id}: no such copy: {copy}")
        return _EndToEnd(
            [(member.offset, path) for member, path in self._members() if member.is_file], self.opened
        )

    def _members(self) -> list[tuple[Member, Path]]:
        """What is in the directory, as a tar would list it, and where it is."""
        found, place = [], 0
        for folder, folders, files in os.walk(self.folder):
            for name in sorted(folders + files):
                path = Path(folder, name)
                status = path.lstat()
                kinds = {stat.S_IFDIR: b"5", stat.S_IFLNK: b"2", stat.S_IFREG: b"0"}
                kind = kinds[stat.S_IFMT(status.st_mode)]
                size = status.st_size if kind == b"0" else 0
                member = Member(
                    offset=place,
                    header_offset=place,
                    data_offset=place,
                    stored_size=size,
                    size=size,
                    type=kind,
                    name=os.fsencode(path.relative_to(self.folder)),
                    linkname=os.fsencode(path.readlink()) if kind == b"2" else b"",
                    mode=stat.S_IMODE(status.st_mode),
                    uid=status.st_uid,
                    gid=status.st_gid,
                    uname=b"",
                    gname=b"",
                    mtime_ns=status.st_mtime_ns,
                    devmajor=0,
                    devminor=0,
                    is_adjusted=True,
                )
                found.append((member, path))
                place += size
        return found


class _EndToEnd(Blob):
    """Files, each at its place; which are opened is noted."""

    def __init__(self, files: Sequence[tuple[int, Path]], opened: list[str]) -> None:
        self._places = [place for place, _ in files]
        self._files = [path for _, path in files]
        self._opened = opened

    @property
    def size(self) -> int:
        return self._places[-1] + self._files[-1].stat().st_size

    def pread(self, size: int, offset: int) -> bytes:
        data = b""
        while len(data) < size and offset + len(data) < self.size:
            place = offset + len(data)
            number = bisect_right(self._places, place) - 1
            self._opened.append(self._files[number].name)
            with FileBlob(self._files[number]) as file:
                data += file.pread(size - len(data), place - self._places[number])
        return data
