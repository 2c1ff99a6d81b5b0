"""Layers with a table of contents, made from the specifications: eStargz, and zstd:chunked with a tar-split."""

import base64
import gzip
import hashlib
import io
import json
import struct
import tarfile
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fastcrc.crc64 import go_iso as crc64

from imgfs.codec.zstd_module import zstd

_KINDS = {
    tarfile.DIRTYPE: "dir",
    tarfile.REGTYPE: "reg",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}


@dataclass
class Chunked:
    """A layer: its stored bytes, the tar in them, the annotations of its descriptor, and a table that is elsewhere."""

    stored: bytes
    tar: bytes
    annotations: dict[str, str] = field(default_factory=dict)
    toc: bytes = b""

    @property
    def diff_id(self) -> str:
        return digest(self.tar)

    @property
    def digest(self) -> str:
        return digest(self.stored)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _entry(member: tarfile.TarInfo) -> dict[str, object]:
    """What a table says of a member, without what is usual; its content is the caller's to add."""
    xattrs = {
        key.removeprefix("SCHILY.xattr."): base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
        for key, value in member.pax_headers.items()
        if key.startswith("SCHILY.xattr.")
    }
    time = datetime.fromtimestamp(int(member.mtime), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = {
        "name": member.name + ("/" if member.isdir() else ""),
        "type": _KINDS[member.type],
        "modtime": time,
        "linkName": member.linkname,
        "mode": member.mode,
        "uid": member.uid,
        "gid": member.gid,
        "devMajor": member.devmajor if member.isdev() else 0,
        "devMinor": member.devminor if member.isdev() else 0,
        "xattrs": xattrs,
    }
    return {key: value for key, value in found.items() if value}


def _members(tar: bytes) -> list[tuple[tarfile.TarInfo, int, bytes]]:
    """Each member, where its headers begin, and its content."""
    found, end = [], 0
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            content = tar[member.offset_data : member.offset_data + member.size] if member.isreg() else b""
            found.append((member, end, content))
            end = member.offset_data + -(-len(content) // 512) * 512
    return found


def _landmark() -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(".no.prefetch.landmark")
    member.size = 1
    return member, b"\x0f"


def estargz(
    tar: bytes, chunk_size: int = 64 << 10, least: int = 0, *, has_external_toc: bool = False
) -> Chunked:
    """An eStargz layer of the files of a tar; files up to `least` bytes share a gzip member with the one before."""
    stored, whole, pending = bytearray(), bytearray(), bytearray()
    entries: list[dict[str, object]] = []
    start = inner = 0

    def flush() -> None:
        nonlocal start, pending, inner
        if pending:
            stored.extend(gzip.compress(bytes(pending), 6, mtime=0))
            whole.extend(pending)
        start, inner, pending = len(stored), 0, bytearray()

    landmark, mark = _landmark()
    files = [(landmark, landmark.tobuf(), mark)]
    files += [(member, tar[at : member.offset_data], content) for member, at, content in _members(tar)]
    for member, headers, content in files:
        pending += headers
        entry = _entry(member)
        if not content:
            entries.append(entry)
            continue
        entry |= {"size": len(content), "digest": digest(content)}
        for position in range(0, len(content), chunk_size):
            part = content[position : position + chunk_size]
            if position or len(content) > least or not start:
                flush()
                offset, inside = start, 0
            else:
                offset, inside = start, len(pending)
            is_last = position + len(part) == len(content)
            of = entry if not position else {"name": entry["name"], "type": "chunk", "chunkOffset": position}
            of |= {"offset": offset, "chunkDigest": digest(part)}
            if inside:
                of["innerOffset"] = inside
            if not is_last:
                of["chunkSize"] = len(part)
            entries.append(of)
            pending += part
        pending += bytes(-len(content) % 512)
    flush()
    table = json.dumps({"version": 1, "entries": entries}).encode()
    member = tarfile.TarInfo("stargz.index.json")
    member.size = len(table)
    packed = member.tobuf() + table + bytes(-len(table) % 512) + bytes(1024)
    said, toc = b"%016xSTARGZ" % start, b""
    if has_external_toc:
        said, toc = b"STARGZEXTERNALTOC", gzip.compress(packed, 6, mtime=0)
    else:
        pending += packed
        flush()
    extra = b"SG" + struct.pack("<H", len(said)) + said
    header = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + struct.pack("<H", len(extra)) + extra
    stored += header + b"\x01\x00\x00\xff\xff" + bytes(8)
    annotations = {"containerd.io/snapshot/stargz/toc.digest": digest(table)}
    return Chunked(bytes(stored), bytes(whole), annotations, toc)


def _skippable(data: bytes) -> bytes:
    return struct.pack("<II", 0x184D2A50, len(data)) + data


def zstd_chunked(
    tar: bytes, chunk_size: int = 64 << 10, *, with_split: bool = True, old: bool = False
) -> Chunked:
    """A zstd:chunked layer of a tar, as containers/storage writes it; `old` is the dialect before 2022."""
    stored, entries, lines = bytearray(), list[dict[str, object]](), list[dict[str, object]]()
    end = 0

    def literal(data: bytes) -> None:
        if data:
            stored.extend(zstd.compress(data))
            lines.append({"type": 2, "payload": base64.b64encode(data).decode()})

    for member, _, content in _members(tar):
        literal(tar[end : member.offset_data])
        entry = _entry(member)
        end = member.offset_data + len(content)
        parts = [content[at : at + chunk_size] for at in range(0, len(content), chunk_size)]
        if content:
            entry |= {"size": len(content), "digest": digest(content)}
        entries.append(entry)
        position = 0
        for number, part in enumerate(parts):
            of = entry if not number else {"name": entry["name"], "type": "chunk", "chunkOffset": position}
            if len(parts) > 1:
                of |= {"chunkSize": len(part), "chunkDigest": digest(part)}
            of["offset"] = len(stored)
            if not any(part) and len(parts) > 1:
                of["chunkType"] = "zeros"
            stored += zstd.compress(part)
            of["endOffset"] = len(stored)
            if number:
                entries.append(of)
            position += len(part)
        crc = base64.b64encode(crc64(content).to_bytes(8, "big")).decode() if content else None
        line: dict[str, object] = {"type": 1, "name": member.name + ("/" if member.isdir() else "")}
        lines.append(line | ({"size": len(content), "payload": crc} if content else {}))
    literal(tar[end:])
    split = "\n".join(json.dumps(line) for line in lines).encode()
    packed_split = zstd.compress(split)
    document: dict[str, object] = {"version": 1, "entries": entries}
    if with_split:
        document["tarSplitDigest"] = digest(packed_split)
    table = json.dumps(document).encode()
    packed = zstd.compress(table)
    prefix = "io.containers.zstd-chunked." if old else "io.github.containers.zstd-chunked."
    annotations = {
        f"{prefix}manifest-checksum": digest(packed),
        f"{prefix}manifest-position": f"{len(stored) + 8}:{len(packed)}:{len(table)}:1",
    }
    stored += _skippable(packed)
    if with_split:
        annotations[f"{prefix}tarsplit-position"] = f"{len(stored) + 8}:{len(packed_split)}:{len(split)}"
        stored += _skippable(packed_split)
    stored += _skippable(bytes(56) + b"GNUlInUx")
    return Chunked(bytes(stored), tar, annotations)
