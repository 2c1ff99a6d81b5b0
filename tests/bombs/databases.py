"""Roots of containerd whose bolt database takes very much to read or keep."""

import struct
from collections.abc import Callable
from pathlib import Path

from tests.bombs.material import LAYER, Layout, config
from tests.images import digest
from tests.sources.containerd.bolt_files import Tree, branch, bucket, database, database_of, leaf

Make = Callable[[Path, float], str]
_SHARED = 60_000  # bytes of a key that many entries share


def _root(path: Path, data: Callable[[str], bytes]) -> str:
    """A root with one image, and the database that is made for the digest of its manifest."""
    layout = Layout(path / "io.containerd.content.v1.content")
    described = layout.manifest(config([digest(LAYER)], n=1), [layout.layer])
    layout.finish()
    folder = path / "io.containerd.metadata.v1.bolt"
    folder.mkdir()
    (folder / "meta.db").write_bytes(data(str(described["digest"])))
    return f"containerd:{path}"


def _image(target: str) -> Tree:
    return {b"target": {b"digest": target.encode(), b"mediatype": b"x", b"size": b"\2"}}


def _names(path: Path, scale: float) -> str:
    def data(target: str) -> bytes:
        images: Tree = {b"x:%d" % number: _image(target) for number in range(int(30_000 * scale))}
        return database_of({b"v1": {b"k8s.io": {b"images": images}}}, fan_out=256)

    return _root(path, data)


def _namespaces(path: Path, scale: float) -> str:
    def data(target: str) -> bytes:
        spaces: Tree = {
            b"n%d" % number: {b"images": {b"x": _image(target)}} for number in range(int(20_000 * scale))
        }
        return database_of({b"v1": spaces}, fan_out=256)

    return _root(path, data)


def _above(images: int) -> bytes:
    """The page, number 3, of the topmost bucket, in which that of a namespace's images begins at a page."""
    inside = bucket(0) + leaf(0, [(1, b"images", bucket(images))])
    return leaf(3, [(1, b"v1", bucket(0) + leaf(0, [(1, b"k8s.io", inside)]))], 4096)


def _shared_keys(path: Path, scale: float) -> str:
    """Leaves full of entries that all have the same long key and value."""

    def page(number: int) -> bytes:
        count = 60_000
        heads = b"".join(
            struct.pack("=IIII", 0, (count - place) * 16, _SHARED, _SHARED) for place in range(count)
        )
        body = heads + bytes(2 * _SHARED)
        more = -(-(len(body) + 16) // 4096) - 1
        whole = struct.pack("=QHHI", number, 2, count, more) + body
        return whole.ljust((more + 1) * 4096, b"\0")

    def data(target: str) -> bytes:
        pages, number = list[bytes](), 5
        for _ in range(max(1, int(8 * scale))):
            pages.append(page(number))
            number += len(pages[-1]) // 4096
        firsts = [struct.unpack("=Q", of[:8])[0] for of in pages]
        upper = branch(4, [(b"%d" % of, of) for of in firsts], 4096)
        return database(_above(4), upper, *pages)

    return _root(path, data)


def _cycle(path: Path, scale: float) -> str:
    """A branch that is below itself."""
    return _root(path, lambda target: database(_above(4), branch(4, [(b"a", 4)] * 200, 4096)))


DATABASES: dict[str, Make] = {
    "containerd's names": _names,
    "containerd's namespaces": _namespaces,
    "bolt entries of one key": _shared_keys,
    "bolt branch in a cycle": _cycle,
}
