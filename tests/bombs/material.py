"""What bombs are made of: tar headers by the million, layers, layouts and archives around them."""

import functools
import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import zstandard

from tests.images import digest, layer_tar

BLOCK = 512
END = bytes(2 * BLOCK)
LAYER = layer_tar({"a": b"x" * 1000})
"""A layer as any other."""


@functools.cache
def _template(kind: bytes, size: int, link: bytes) -> tuple[bytes, int]:
    """All of a header but its name, which has 100 bytes, and its checksum; and the sum of its bytes."""
    rest = b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0" + b" " * 8 + kind
    rest += link.ljust(100, b"\0") + b"ustar\x0000"
    return rest.ljust(BLOCK - 100, b"\0"), sum(rest)


def header(name: bytes, kind: bytes = b"0", size: int = 0, link: bytes = b"") -> bytes:
    """A ustar header."""
    rest, total = _template(kind, size, link)
    return name.ljust(100, b"\0") + rest[:48] + b"%06o\0 " % (total + sum(name)) + rest[56:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def record(keyword: bytes, value: bytes) -> bytes:
    """A pax record, its own length before it."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    length += len(str(length)) - len(str(rest))
    return b"%d %s=%s\n" % (length, keyword, value)


def extended(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """A pax header with records."""
    data = b"".join(record(*pair) for pair in records)
    return header(b"pax", kind, len(data)) + padded(data)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """GNU tar's header for a long name."""
    return header(b"././@LongLink", kind, len(name) + 1) + padded(name + b"\0")


def pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of a megabyte or more, and the end of an archive."""
    pending: list[bytes] = []
    size = 0
    for part in parts:
        pending.append(part)
        size += len(part)
        if size >= 1 << 20:
            yield b"".join(pending)
            pending, size = [], 0
    yield b"".join([*pending, END])


def config(diff_ids: Sequence[str], **more: object) -> bytes:
    """An image's config."""
    document = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    return json.dumps(document | more, separators=(",", ":")).encode()


class _Encoder(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


ENCODERS: dict[str, Callable[[], _Encoder]] = {
    "gzip": lambda: zlib.compressobj(6, zlib.DEFLATED, 31),
    "zstd": lambda: zstandard.ZstdCompressor(level=3).compressobj(),
    "plain": _Plain,
}
"""How layers are stored."""


class Layout:
    """An OCI layout that is being made, with one image as any other in it, called `good`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blobs = path / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)
        self.entries: list[dict[str, object]] = []
        self.layer = self.blob(LAYER)
        self.image("good", [digest(LAYER)], [self.layer])

    def blob(self, data: bytes) -> dict[str, object]:
        """Keep a blob; what describes it."""
        (self.blobs / digest(data)[7:]).write_bytes(data)
        return {"digest": digest(data), "size": len(data)}

    def layer_of(self, parts: Iterable[bytes], form: str) -> tuple[str, dict[str, object]]:
        """Keep a layer of these members, stored as `form` says; its diff ID, and what describes it."""
        encoder = ENCODERS[form]()
        plain, stored, size = hashlib.sha256(), hashlib.sha256(), 0
        part = self.blobs / "part"
        with part.open("wb") as file:
            for piece in pieces(parts):
                plain.update(piece)
                data = encoder.compress(piece)
                stored.update(data)
                size += file.write(data)
            data = encoder.flush()
            stored.update(data)
            size += file.write(data)
        part.rename(self.blobs / stored.hexdigest())
        return f"sha256:{plain.hexdigest()}", {"digest": f"sha256:{stored.hexdigest()}", "size": size}

    def manifest(self, config: bytes, layers: Sequence[dict[str, object]]) -> dict[str, object]:
        document = {"schemaVersion": 2, "config": self.blob(config), "layers": layers}
        return self.blob(json.dumps(document, separators=(",", ":")).encode())

    def name(self, described: dict[str, object], tag: str) -> None:
        self.entries.append(described | {"annotations": {"org.opencontainers.image.ref.name": tag}})

    def image(
        self, tag: str, diff_ids: Sequence[str], layers: Sequence[dict[str, object]], **more: object
    ) -> None:
        self.name(self.manifest(config(diff_ids, **more), layers), tag)

    def finish(self) -> str:
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        index = {"schemaVersion": 2, "manifests": self.entries}
        (self.path / "index.json").write_text(json.dumps(index, separators=(",", ":")))
        return f"oci:{self.path}"


def layers_layout(path: Path, form: str, *layers: Iterable[bytes]) -> str:
    """A layout with an image called `bomb` of these layers, each given by its members."""
    layout = Layout(path)
    made = [layout.layer_of(parts, form) for parts in layers]
    layout.image("bomb", [diff_id for diff_id, _ in made], [described for _, described in made])
    return layout.finish()


def packed(path: Path, files: Iterable[tuple[str, bytes]]) -> str:
    """A compressed tar of these files, made by hand so that it may have any number of them and any names."""
    path.parent.mkdir(exist_ok=True)
    with gzip.open(path, "wb", 6) as file:
        for name, data in files:
            encoded = name.encode()
            if len(encoded) > 100:
                file.write(extended((b"path", encoded)))
            file.write(header(encoded[:100], b"0", len(data)) + padded(data))
        file.write(END)
    return str(path)


def archive(path: Path, files: Iterable[tuple[str, bytes]]) -> str:
    """A tar of these files."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)
