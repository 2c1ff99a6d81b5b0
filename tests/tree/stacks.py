"""Random stacks of layers, and what a tree says of its entries, for comparing it with what others make of them."""

import os
import stat
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import strategies as st

from imgfs.blob import MemoryBlob
from imgfs.tar import scan_blob
from imgfs.tree import Overlay, Tree, TreeBuilder
from tests.tar.archives import BLOCK, padded

_NAMES = [*"abcd" * 4, "n" * 130, "not utf-8 \udcff\udcfe"]
_HOLE = 1000  # bytes before what a sparse file holds; behind it there are twice as many
_TYPES = [
    *[tarfile.REGTYPE] * 4,
    *[tarfile.DIRTYPE] * 3,
    *[tarfile.SYMTYPE] * 2,
    *[tarfile.LNKTYPE] * 2,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
]


@dataclass(frozen=True)
class Entry:
    """A member to be: `content` is that of a file, or what a link leads to."""

    name: str
    type: bytes
    content: str = ""
    mode: int = 0o644
    owner: int = 0
    mtime: int = 1_600_000_000
    xattr: str = ""
    fraction: str = ""
    """Of the mtime, in nanoseconds, nine digits."""
    sparse: str = ""
    """How a file is stored as a sparse one, with a hole before and behind its content: "pax" or "gnu"."""
    device: tuple[int, int] = (5, 1)
    """Major and minor number."""


EXAMPLE = [
    [
        Entry("d", tarfile.DIRTYPE, mode=0o1777, fraction="123456789"),
        Entry("d/old", tarfile.REGTYPE, "old", owner=1000),
        Entry("d/gone", tarfile.REGTYPE, "gone"),
        Entry("o", tarfile.DIRTYPE, mode=0o700),
        Entry("o/hidden", tarfile.REGTYPE, "hidden"),
        Entry("a", tarfile.REGTYPE, "a" * 300_000, mode=0o4755, xattr="value", fraction="000000001"),
        Entry("b", tarfile.LNKTYPE, "a", mode=0o4755, fraction="000000001"),
        Entry("s", tarfile.SYMTYPE, "/d/old", mode=0o777, owner=70_000, fraction="987654321"),
        Entry("p", tarfile.FIFOTYPE),
        Entry("c", tarfile.CHRTYPE, device=(5, 1)),
    ],
    [
        Entry("d/.wh.gone", tarfile.REGTYPE),
        Entry("o", tarfile.DIRTYPE, mode=0o711),
        Entry("o/.wh..wh..opq", tarfile.REGTYPE),
        Entry("o/new", tarfile.REGTYPE, "new"),
        Entry("empty", tarfile.REGTYPE),
    ],
    [
        Entry("./", tarfile.DIRTYPE, mode=0o711),
        Entry("d", tarfile.DIRTYPE, mode=0o755, fraction="500000000"),
        Entry("d/old", tarfile.REGTYPE, "newer"),
        Entry(".wh.p", tarfile.REGTYPE),
    ],
]
"""Layers with files of every kind, which replace, hide and remove what lower ones have."""


def paths() -> st.SearchStrategy[str]:
    """Short paths of few names, so that they meet; some written unusually."""
    plain = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map("/".join)
    return st.one_of(plain, plain, plain, plain.map("./{}".format), plain.map("/{}".format))


def entries(sparse: Sequence[str], devices: Sequence[tuple[int, int]]) -> st.SearchStrategy[Entry]:
    """One member, whiteouts among them; some files are stored in a way of `sparse`."""
    ordinary = st.builds(
        Entry,
        paths(),
        st.sampled_from(_TYPES),
        st.one_of(paths(), paths().map("../{}".format), st.just("/"), st.just("..")),
        st.sampled_from([0o644, 0o600, 0o755, 0o4755, 0o1777]),
        st.sampled_from([0, 1000]),
        st.integers(1, 2_000_000_000),
        st.sampled_from(["", "", "value"]),
        st.sampled_from(["", "", "", "000000001", "987654321"]),
        st.sampled_from(["", "", "", *sparse]),
        st.sampled_from(devices),
    )
    folders = st.lists(st.sampled_from(_NAMES), max_size=2).map(lambda parts: "".join(f"{p}/" for p in parts))
    hidden = st.builds(lambda path, name: f"{path}.wh.{name}", folders, st.sampled_from(_NAMES))
    whiteouts = st.one_of(hidden, hidden, folders.map("{}.wh..wh..opq".format))
    return st.one_of(
        *[ordinary] * 4, st.builds(Entry, whiteouts, st.just(tarfile.REGTYPE), mtime=st.just(1_600_000_000))
    )


def stacks(
    sparse: Sequence[str] = ("pax", "gnu"), devices: Sequence[tuple[int, int]] = ((5, 1),)
) -> st.SearchStrategy[list[list[Entry]]]:
    """Layers, bottom first, without members that cannot be applied."""
    layer = st.lists(entries(sparse, devices), max_size=12)
    return st.lists(layer, min_size=1, max_size=4).map(_applicable)


def tar(entries: Iterable[Entry]) -> bytes:
    """The entries as a tar."""
    members = b"".join(map(_member, entries))
    return members + bytes(-len(members) % tarfile.RECORDSIZE or tarfile.RECORDSIZE)


def _member(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.name)
    info.type, info.mode, info.mtime = entry.type, entry.mode, entry.mtime
    info.uid = info.gid = entry.owner
    headers = {"mtime": f"{entry.mtime}.{entry.fraction}"} if entry.fraction else {}
    data = b""
    if entry.type == tarfile.REGTYPE:
        data = entry.content.encode("utf-8", "surrogateescape")
        info.size = len(data)
    elif entry.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = entry.content
    elif entry.type == tarfile.CHRTYPE:
        info.devmajor, info.devminor = entry.device
    if entry.xattr and entry.type != tarfile.LNKTYPE:
        headers["SCHILY.xattr.trusted.test"] = entry.xattr
    if entry.sparse == "pax" and data:
        size = len(data)
        headers |= {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": entry.name}
        headers["GNU.sparse.realsize"] = str(3 * _HOLE + size)
        data = padded(b"2\n%d\n%d\n%d\n0\n" % (_HOLE, size, 3 * _HOLE + size)) + data
        info.size = len(data)
    if entry.sparse == "gnu" and data:
        return _old_sparse(info) + padded(data)
    info.pax_headers = headers
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + padded(data)


def _old_sparse(info: tarfile.TarInfo) -> bytes:
    """Headers of GNU tar's old format for a sparse file of one part."""
    *before, header = _blocks(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    end = 3 * _HOLE + info.size
    parts = b"%011o\0%011o\0%011o\0%011o\0" % (_HOLE, info.size, end, 0)
    area = parts.ljust(4 * 24, b"\0") + b"\0" + b"%011o\0" % end
    header = header[:148] + b" " * 8 + b"S" + header[157:386] + area + bytes(17)
    return b"".join(before) + header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _blocks(data: bytes) -> list[bytes]:
    return [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]


def layer_tree(layer: bytes) -> Tree:
    """The tree of one layer's tar, nothing of which is skipped."""
    problems: list[str] = []
    builder = TreeBuilder(problems.append)
    builder.add(scan_blob(MemoryBlob(layer)))
    assert problems == []
    return builder.tree()


def merged(layers: Sequence[bytes]) -> Tree:
    """The overlay of some layer tars, nothing of which is skipped."""
    problems: list[str] = []
    overlay = Overlay(problems.append)
    for layer in layers:
        overlay.apply(layer_tree(layer))
    assert problems == []
    return overlay.tree()


Facts = dict[bytes, tuple[int, int, int, int, int | None, object, dict[bytes, bytes], bytes]]


def tree_facts(tree: Tree, layers: Sequence[bytes]) -> Facts:
    """By path: type and mode, owner, group, links, mtime, size or device or target, xattrs, content, first name."""
    first_names: dict[int, bytes] = {}
    facts: Facts = {}
    for entry in sorted(tree.walk(), key=tree.path):
        path, inode = tree.path(entry), tree.inode(entry)
        mode = tree.modes[inode]
        detail: object = b""
        if stat.S_ISREG(mode):
            detail = _content(tree, inode, layers[tree.layers[inode]])
        elif stat.S_ISLNK(mode):
            detail = tree.target(inode)
        elif inode in tree.devices:
            detail = tree.devices[inode]
        facts[path] = (
            mode,
            tree.uids[inode],
            tree.gids[inode],
            tree.links[inode],
            tree.mtimes[inode],
            detail,
            tree.xattrs.get(inode, {}),
            first_names.setdefault(inode, path),
        )
    return facts


def _content(tree: Tree, inode: int, layer: bytes) -> bytes:
    start, size = tree.records[inode] + tree.headers[inode], tree.sizes[inode]
    whole = bytearray(size)
    for offset, length in tree.sparse.get(inode, [(0, size)]):
        whole[offset : offset + length] = layer[start : start + length]
        start += length
    return bytes(whole)


def real_facts(root: Path) -> Facts:
    """The same of a real tree."""
    base = os.fsencode(root)
    first_names: dict[tuple[int, int], bytes] = {}
    found = []
    for folder, folders, files in os.walk(base):
        found += [os.path.join(folder, name) for name in folders + files]
    facts: Facts = {}
    for full in sorted(found):
        path = full[len(base) + 1 :]
        try:
            status = os.lstat(full)
        except FileNotFoundError:  # overlayfs lists whiteouts in directories that one layer alone has
            continue
        detail: object = b""
        if stat.S_ISREG(status.st_mode):
            detail = Path(os.fsdecode(full)).read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            detail = os.readlink(full)
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            detail = (os.major(status.st_rdev), os.minor(status.st_rdev))
        xattrs = {
            os.fsencode(name): os.getxattr(full, name, follow_symlinks=False)
            for name in os.listxattr(full, follow_symlinks=False)
        }
        facts[path] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_nlink,
            status.st_mtime_ns,
            detail,
            xattrs,
            first_names.setdefault((status.st_dev, status.st_ino), path),
        )
    return facts


def _applicable(stack: list[list[Entry]]) -> list[list[Entry]]:
    refused: list[str] = []
    overlay = Overlay(refused.append)
    layers: list[list[Entry]] = []
    for layer in stack:
        kept = []
        builder = TreeBuilder(refused.append)
        for entry in layer:
            builder.add(scan_blob(MemoryBlob(tar([entry]))))
            if not refused:
                kept.append(entry)
            refused.clear()
        overlay.apply(layer_tree(tar(kept)))
        if refused:  # hard links to what no layer has
            kept = [entry for entry in kept if entry.type != tarfile.LNKTYPE]
            return _applicable([*layers, kept, *stack[len(layers) + 1 :]])
        layers.append(kept)
    return layers


def check_same(found: Mapping[bytes, object], expected: Mapping[bytes, object]) -> None:
    """Fail with the first paths that differ: what shows how two large mappings differ takes minutes and gigabytes."""
    differing = [
        path for path in sorted(found.keys() | expected.keys()) if found.get(path) != expected.get(path)
    ]
    shown = [f"{path!r}: {found.get(path)} where {expected.get(path)} is expected" for path in differing[:20]]
    if differing:
        pytest.fail("\n".join([f"{len(differing)} paths differ", *shown]))
