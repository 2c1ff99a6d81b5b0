"""Tars for tests: headers made field by field, archives by tarfile, and files that real tools then pack."""

import io
import os
import random
import struct
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from imgfs.tar import Member

BLOCK = 512
ENDING = bytes(2 * BLOCK)
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")


def header(
    name: bytes = b"file",
    *,
    kind: bytes = b"0",
    size: int | bytes = 0,
    linkname: bytes = b"",
    magic: bytes = b"ustar\x0000",
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0",
    prefix: bytes = b"",
    checksum: bytes | None = None,
    tail: bytes = b"",
) -> bytes:
    """A header with a right checksum, unless another one is given; `tail` goes over its last bytes."""
    number = b"%011o\0" % size if isinstance(size, int) else size
    fields = (
        name,
        mode,
        uid,
        b"0000000\0",
        number,
        mtime,
        b" " * 8,
        kind,
        linkname,
        magic,
        b"root",
        b"wheel",
    )
    block = _FIELDS.pack(*fields, b"", b"", prefix)
    block = block[: BLOCK - len(tail)] + tail
    if checksum is None:
        checksum = b"%06o\0 " % sum(block)
    return block[:148] + checksum + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def extended(kind: bytes, records: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]]) -> bytes:
    """A pax header of type x or g with these records."""
    pairs = records.items() if isinstance(records, Mapping) else records
    payload = b"".join(record(key, value) for key, value in pairs)
    return header(b"pax", kind=kind, size=len(payload)) + padded(payload)


def record(key: bytes, value: bytes) -> bytes:
    """One pax record, which begins with its own length."""
    length = len(key) + len(value) + 3
    while len(str(length)) + len(key) + len(value) + 3 != length:
        length = len(str(length)) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def long_name(kind: bytes, name: bytes) -> bytes:
    """GNU tar's L or K."""
    return header(b"././@LongLink", kind=kind, size=len(name) + 1, magic=b"ustar  \0") + padded(name + b"\0")


def sparse_file(name: str, size: int, parts: Sequence[tuple[int, int]]) -> bytes:
    """A member, whose data are random."""
    listed = ",".join(f"{offset},{length}" for offset, length in parts)
    says = {"GNU.sparse.map": listed, "GNU.sparse.size": size, "GNU.sparse.name": name}
    says["GNU.sparse.numblocks"] = len(parts)
    data = _random_data(name, parts)
    records = {key.encode(): str(value).encode() for key, value in says.items()}
    return extended(b"x", records) + header(size=len(data)) + padded(data)


def check_sparse_file(path: Path, size: int, parts: Sequence[tuple[int, int]]) -> None:
    """Compare a file with what a `sparse_file` of its name has; of long holes only the start."""
    data, position, done = _random_data(path.name, parts), 0, 0
    with path.open("rb") as file:
        assert os.fstat(file.fileno()).st_size == size
        for offset, length in [*parts, (size, 0)]:
            assert not any(os.pread(file.fileno(), min(offset - done, 100_000), done))
            assert os.pread(file.fileno(), length, offset) == data[position : position + length]
            position, done = position + length, offset + length


def _random_data(name: str, parts: Sequence[tuple[int, int]]) -> bytes:
    return random.Random(name).randbytes(sum(length for _, length in parts))


def tree(folder: Path) -> Path:
    """Files of every kind that any user may make, with awkward names, sizes and holes."""
    folder.mkdir()
    (folder / "empty").write_bytes(b"")
    for size in (1, 511, 512, 513, 70_000):
        (folder / f"file-{size}").write_bytes(os.urandom(size))
    (folder / "zeros").write_bytes(bytes(20_480))
    (folder / "dir" / "deeper").mkdir(parents=True)
    (folder / ("n" * 99)).write_bytes(b"99")
    (folder / ("n" * 101)).write_bytes(b"101")
    deep = folder / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    (deep / ("f" * 200)).write_bytes(b"over 255 bytes")
    Path(os.fsdecode(os.fsencode(folder) + b"/not utf-8 \xff\xfe")).write_bytes(b"x")
    (folder / "ünïcode").write_bytes(b"u")
    (folder / "symlink").symlink_to("target/" + "t" * 150)
    os.link(folder / "file-1", folder / "hard link")
    os.mkfifo(folder / "fifo")
    (folder / "file-513").chmod(0o4755)
    os.utime(folder / "file-512", ns=(1, 1_234_567_890_123_456_789))
    with (folder / "sparse").open("wb") as file:
        for offset in range(0, 3_000_000, 100_000):
            file.seek(offset)
            file.write(b"x" * 5000)
        file.truncate(3_200_000)
    return folder


def from_tarfile(path: Path) -> list[tuple[object, ...]]:
    """What Python's tarfile says of each member, as `facts` does."""
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as archive:
        return [
            (
                _encoded(info.name),
                info.type,
                info.size,
                _encoded(info.linkname),
                info.mode,
                info.uid,
                info.gid,
                info.uname,
                info.gname,
                int(info.mtime),
                info.offset,
                None if info.issparse() or not info.isreg() else info.offset_data,
            )
            for info in archive
        ]


def facts(member: Member) -> tuple[object, ...]:
    """What both tell of a member."""
    return (
        member.name.rstrip(b"/"),
        member.type,
        member.size,
        member.linkname,
        member.mode,
        member.uid,
        member.gid,
        member.uname.decode(),
        member.gname.decode(),
        member.mtime_ns // 1_000_000_000,
        member.offset,
        None if member.sparse is not None or not member.is_file else member.data_offset,
    )


def content(data: bytes, member: Member) -> bytes:
    """A member's bytes, its holes filled."""
    stored = data[member.data_offset : member.data_offset + member.stored_size]
    if member.sparse is None:
        return stored
    whole = bytearray(member.size)
    for offset, length in member.sparse:
        whole[offset : offset + length] = stored[:length]
        stored = stored[length:]
    return bytes(whole)


def python_tar(names: Mapping[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """What tarfile writes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, data in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape").rstrip(b"/")
