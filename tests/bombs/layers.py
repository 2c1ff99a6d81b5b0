"""Layers that decode to very much, or whose members take very much to list, merge or show."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard

from tests.bombs.material import BLOCK, LAYER, Layout, extended, header, layers_layout, long_name
from tests.images import digest

Make = Callable[[Path, float], str]
MIB = 1 << 20


def _zeros(size: int) -> Iterator[bytes]:
    yield header(b"zeros", size=size)
    piece = bytes(MIB)
    for _ in range(size // MIB):
        yield piece


def _empty(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield header(b"d%d/f%d" % (number % 1000, number))


def _flat(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield header(b"d/f%d" % number)


def _same(count: int) -> Iterator[bytes]:
    piece = header(b"f") * 2048
    for _ in range(count // 2048):
        yield piece


def _with(records: bytes, count: int, prefix: bytes = b"f") -> Iterator[bytes]:
    for number in range(count):
        yield records + header(b"%s%d" % (prefix, number))


def _xattrs(count: int, attributes: int, size: int) -> Iterator[bytes]:
    records = [(b"SCHILY.xattr.user.a%d" % number, b"u" * size) for number in range(attributes)]
    return _with(extended(*records), count)


def _different_xattrs(count: int, size: int) -> Iterator[bytes]:
    for number in range(count):
        yield extended((b"SCHILY.xattr.user.a", b"%d" % number + b"u" * size)) + header(b"f%d" % number)


def _links(count: int, size: int) -> Iterator[bytes]:
    records = extended((b"linkpath", b"t" * size))
    for number in range(count):
        yield records + header(b"s%d" % number, b"2", link=b"t")


def _deep(count: int, depth: int) -> Iterator[bytes]:
    base = b"/".join([b"a"] * depth)
    for number in range(count):
        yield extended((b"path", b"%s/%d/f" % (base, number))) + header(b"x")


def _by_turns(count: int, depth: int) -> Iterator[bytes]:
    bases = [b"/".join([name] * depth) for name in (b"a", b"b")]
    for number in range(count):
        yield extended((b"path", b"%s/%d/f" % (bases[number % 2], number))) + header(b"x")


def _ladder(depth: int) -> Iterator[bytes]:
    for number in range(1, depth):
        yield extended((b"path", b"/".join([b"d"] * number))) + header(b"d", b"5")


def _hardlinks(count: int) -> Iterator[bytes]:
    yield header(b"h0")
    for number in range(1, count):
        yield header(b"h%d" % number, b"1", link=b"h%d" % (number - 1))


def _sparse(count: int, parts: int) -> Iterator[bytes]:
    numbers = b",".join(b"%d,1" % (2 * part) for part in range(parts))
    records = extended(
        (b"GNU.sparse.size", b"%d" % (1 << 40)), (b"GNU.sparse.map", numbers), (b"GNU.sparse.numblocks", b"1")
    )
    for number in range(count):
        yield records + header(b"s%d" % number, size=parts) + bytes(parts + -parts % BLOCK)


def _whiteouts(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield header(b".wh.f%d" % number)


def _opaque(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield header(b"d%d/.wh..wh..opq" % number)


def _symlink_bomb(count: int) -> Iterator[bytes]:
    yield header(b"a", b"5") + header(b"l0", b"2", link=b"a")
    for number in range(1, 39):
        yield header(b"l%d" % number, b"2", link=b"l%d" % (number - 1))
    for number in range(count):
        yield header(b"l38/../l38/../l38/f%d" % number)


def _declared(kind: bytes, size: int) -> Iterator[bytes]:
    yield header(b"ext", kind, size)
    for _ in range(size // MIB):
        yield b"a" * MIB
    yield header(b"f")


def _extensions(count: int) -> Iterator[bytes]:
    piece = extended((b"mtime", b"1")) * 1024
    for _ in range(count // 1024):
        yield piece
    yield header(b"f")


def _globals(count: int) -> Iterator[bytes]:
    piece = extended((b"comment", b"x" * 400), kind=b"g") * 1024
    for _ in range(count // 1024):
        yield piece
    yield header(b"f")


def _long_names(count: int, size: int) -> Iterator[bytes]:
    for number in range(count):
        yield long_name(b"%d" % number + b"n" * size) + header(b"f")


def _long_paths(count: int) -> Iterator[bytes]:
    name = b"/".join([b"n" * 250] * 15)
    for number in range(count):
        yield extended((b"path", b"%s/%d" % (name, number))) + header(b"f")


def _raw(path: Path, stored: bytes, plain: bytes) -> str:
    """A layout with a layer that is stored as these bytes."""
    layout = Layout(path)
    layout.image("bomb", [digest(plain)], [layout.blob(stored)])
    return layout.finish()


def _gzip_members(path: Path, scale: float) -> str:
    return _raw(path, gzip.compress(LAYER) + gzip.compress(b"") * int(500_000 * scale), LAYER)


def _zstd_frames(path: Path, scale: float) -> str:
    frame = zstandard.compress(b"")
    return _raw(path, zstandard.compress(LAYER) + frame * int(1_000_000 * scale), LAYER)


def _skippable(path: Path, scale: float) -> str:
    return _raw(path, b"\x50\x2a\x4d\x18\0\0\0\0" * int(1_000_000 * scale) + zstandard.compress(LAYER), LAYER)


def _window(path: Path, scale: float) -> str:
    stored = bytearray(zstandard.ZstdCompressor(write_content_size=False).compress(LAYER))
    stored[5] = (31 - 10) << 3
    return _raw(path, bytes(stored), LAYER)


def _gzip_name(path: Path, scale: float) -> str:
    deflated = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = deflated.compress(LAYER) + deflated.flush()
    trailer = zlib.crc32(LAYER).to_bytes(4, "little") + len(LAYER).to_bytes(4, "little")
    start = b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"n" * int(9 * MIB * scale) + b"\0"
    return _raw(path, start + data + trailer, LAYER)


def _made(form: str, *parts: Callable[[float], Iterator[bytes]]) -> Make:
    return lambda path, scale: layers_layout(path, form, *(part(scale) for part in parts))


def _count(number: int, scale: float) -> int:
    return max(1, int(number * scale))


LAYERS: dict[str, Make] = {
    "gzip of zeros": _made("gzip", lambda scale: _zeros(_count(9 << 10, scale) * MIB)),
    "zstd of zeros": _made("zstd", lambda scale: _zeros(_count(32 << 10, scale) * MIB)),
    "members, empty": _made("gzip", lambda scale: _empty(_count(1_500_000, scale))),
    "members, zstd": _made("zstd", lambda scale: _empty(_count(2_000_000, scale))),
    "members of one name": _made("zstd", lambda scale: _same(_count(30_000_000, scale))),
    "one directory": _made("gzip", lambda scale: _flat(_count(1_500_000, scale))),
    "members, plain": _made("plain", lambda scale: _empty(_count(19_000, scale))),
    "user names": _made(
        "gzip",
        *(
            lambda scale, prefix=prefix: _with(
                extended((b"uname", b"u" * (MIB - 64))), _count(1200, scale), prefix
            )
            for prefix in (b"a", b"b", b"c")
        ),
    ),
    "user names, plain": _made(
        "plain", lambda scale: _with(extended((b"uname", b"u" * 500_000)), _count(18, scale))
    ),
    "xattrs, large": _made("gzip", lambda scale: _xattrs(_count(1500, scale), 16, 60_000)),
    "xattrs, many in one": _made("gzip", lambda scale: _xattrs(_count(300, scale), 20_000, 8)),
    "xattrs, over members": _made("gzip", lambda scale: _xattrs(_count(300_000, scale), 4, 200)),
    "xattrs, all different": _made("gzip", lambda scale: _different_xattrs(_count(20_000, scale), 60_000)),
    "symbolic links": _made("gzip", lambda scale: _links(_count(240_000, scale), 4000)),
    "deep paths": _made("gzip", lambda scale: _deep(_count(240_000, scale), 2000)),
    "deep paths by turns": _made("gzip", lambda scale: _by_turns(_count(60_000, scale), 1900)),
    "deep paths by themselves": _made(
        "gzip",
        lambda scale: (
            extended((b"path", b"%d/%sf" % (n, b"d/" * 2000))) + header(b"x")
            for n in range(_count(2000, scale))
        ),
    ),
    "ladder of directories": _made("gzip", lambda scale: _ladder(_count(2040, scale))),
    "long paths": _made("gzip", lambda scale: _long_paths(_count(240_000, scale))),
    "links through links": _made("gzip", lambda scale: _symlink_bomb(_count(1_000_000, scale))),
    "hard links": _made("gzip", lambda scale: _hardlinks(_count(1_500_000, scale))),
    "sparse maps": _made("gzip", lambda scale: _sparse(_count(2000, scale), 5000)),
    "whiteouts": _made(
        "gzip",
        lambda scale: _flat(_count(300_000, scale)),
        lambda scale: _whiteouts(_count(1_000_000, scale)),
    ),
    "opaque directories": _made("gzip", lambda scale: _opaque(_count(1_000_000, scale))),
    "pax header of 1 GB": _made("gzip", lambda scale: _declared(b"x", _count(1024, scale) * MIB)),
    "global header of 1 GB": _made("gzip", lambda scale: _declared(b"g", _count(1024, scale) * MIB)),
    "long name of 1 GB": _made("gzip", lambda scale: _declared(b"L", _count(1024, scale) * MIB)),
    "long names": _made("gzip", lambda scale: _long_names(_count(1000, scale), 1_000_000)),
    "pax headers alone": _made("gzip", lambda scale: _extensions(_count(4_000_000, scale))),
    "global headers": _made("gzip", lambda scale: _globals(_count(4_000_000, scale))),
    "gzip members": _gzip_members,
    "gzip's file name": _gzip_name,
    "zstd frames": _zstd_frames,
    "zstd skippable frames": _skippable,
    "zstd window of 2 GB": _window,
}
