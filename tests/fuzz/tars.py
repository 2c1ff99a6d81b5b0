"""Tars: headers of every dialect, extended records, sparse maps, tar-split, merging, and images of trees."""

import io
import tarfile
from contextlib import suppress

from imgfs.blob import MemoryBlob
from imgfs.errors import Corrupt
from imgfs.tar import Member, Scanner, scan_blob
from imgfs.tar.pax import parse_records, parse_time
from imgfs.tar.sparse_map import in_records
from imgfs.tar.split.recipe import parse_recipe
from imgfs.tree import ErofsPlan, FlatPlan, SquashfsPlan, Tree, build_tree, overlay_trees
from tests.fuzz.target import Target
from tests.images import layer_tar
from tests.splitting import file_line, literal, tar_split
from tests.tar.archives import extended, header, record

_BLOCK = 512


def _tar(kind: int) -> bytes:
    """A member of every type, with names that take more than a header has room for."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for type_ in (b"0", b"5", b"2", b"1", b"3", b"6"):
            info = tarfile.TarInfo(f"dir/{type_.decode()}{'x' * 120 if kind != tarfile.USTAR_FORMAT else ''}")
            info.type, info.linkname, info.mtime, info.uid = type_, "dir/0", 1.5, 1 << 22
            if kind == tarfile.USTAR_FORMAT:
                info.uid = 5
            info.size = 5 if type_ == b"0" else 0
            info.pax_headers = {"SCHILY.xattr.user.a": "b"} if kind == tarfile.PAX_FORMAT else {}
            archive.addfile(info, io.BytesIO(b"hello"))
    return buffer.getvalue()


_SPARSE = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": b"s"}
_TARS = [
    *map(_tar, (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
    extended(b"x", _SPARSE | {b"GNU.sparse.realsize": b"9"}) + header(b"s", size=_BLOCK) + b"1\n0\n5\n",
    extended(b"x", {b"GNU.sparse.map": b"0,1,5,1", b"GNU.sparse.size": b"9"}) + header(b"s", size=2) + b"ab",
    layer_tar({"a": b"1", "a/b": b"2", ".wh.c": b"", "d": None, "d/.wh..wh..opq": b""}),
]


def _scan(data: bytes) -> None:
    """In one piece and in two the same comes out."""
    whole, parts = Scanner(), Scanner()
    members = list(whole.feed(data))
    half = len(data) // 2
    assert members == [*parts.feed(data[:half]), *parts.feed(data[half:])]
    list(scan_blob(MemoryBlob(data)))


def _records(data: bytes) -> None:
    try:
        records = parse_records(data)
        in_records(records)
        for value in records.values():
            parse_time(value)
    except ValueError as error:  # which the scanner makes Corrupt, naming the header
        raise Corrupt(str(error)) from error


def _merge(data: bytes) -> None:
    """Two layers, one after another in the input."""
    middle = len(data) // 2 // _BLOCK * _BLOCK
    trees = []
    for layer in (data[:middle], data):
        members: list[Member] = []
        with suppress(Corrupt):
            members.extend(scan_blob(MemoryBlob(layer)))  # keeps what came before the error
        trees.append(build_tree(members, "fuzz"))
        _plan(trees[-1])
    _plan(overlay_trees(trees, "fuzz"))


def _plan(tree: Tree) -> None:
    for plan in (FlatPlan(tree), ErofsPlan(tree), ErofsPlan(tree, with_layers=True), SquashfsPlan(tree)):
        assert plan.size


_SPLIT = tar_split([literal(header(b"f", size=5)), file_line("f", b"hello"), literal(bytes(1024))])

TARGETS = [
    Target("tar", _scan, _TARS),
    Target(
        "pax", _records, [record(b"path", b"a") + record(b"mtime", b"1.5"), extended(b"x", _SPARSE)[_BLOCK:]]
    ),
    Target("merge", _merge, _TARS),
    Target("tar-split", lambda data: parse_recipe(MemoryBlob(data), "fuzz"), [_SPLIT]),
]
