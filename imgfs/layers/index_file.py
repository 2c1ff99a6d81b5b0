"""The index of a layer: what one pass over its stored bytes finds, and the file that keeps it.

File: a magic line, the length of the header, the header (msgpack) and their hash, then sections, each hashed in the
header: `spans` as `codec.span_map` packs it, `windows` of its seek points, `members`, `files` (the digests of regular
files), and checksums of local bytes. Header and sections are checked when they are read; what is not as it was written
is Corrupt, and the index is made again. The cache is the only place these files come from; `index_parts` has the form
in which an index is kept in a registry, of the same sections.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping
from typing import Annotated, BinaryIO, NoReturn

import msgspec

from imgfs.blob import Blob, MemoryBlob
from imgfs.blob.checked import checksums_size
from imgfs.codec import Compression, SeekTable
from imgfs.codec.span_map import parse_map
from imgfs.decoders import msgpack_decoder
from imgfs.digest import DiffID, Digest
from imgfs.errors import Corrupt, InvalidDigest
from imgfs.layers.member_list import MemberList
from imgfs.layers.trust import Level

_MAGIC = b"imgfs layer index, version 7\n"
_LENGTH = struct.Struct("<I")
_HASH_SIZE = 16
_MAX_HEADER = 1 << 16

Size = Annotated[int, msgspec.Meta(ge=0)]


class LayerKey(msgspec.Struct, frozen=True):
    """Names the stored bytes of a layer, or of an archive, with all that is recorded of them.

    `digest` names their files in the cache. `stored_digest` and `size`, that of the tar in bytes, are None where they
    are not recorded, and of an archive, which is at `path`, so is `diff_id`. Two keys are equal if the same is
    recorded: of two images that say different things of the same bytes, one is wrong, and must not be taken for the
    other.
    """

    digest: Digest
    compression: Compression
    diff_id: DiffID | None
    stored_size: int
    stored_digest: Digest | None
    size: int | None
    path: str = ""

    @property
    def name(self) -> str:
        """What errors and logs call the layer or the archive."""
        if self.diff_id is None:
            return self.path
        blob = f", blob {self.stored_digest}" if self.stored_digest not in (None, self.diff_id) else ""
        return f"layer {self.diff_id}{blob}"

    @property
    def algorithms(self) -> tuple[str, str]:
        """The algorithms that the stored bytes and the tar are hashed with, to compare their digests."""
        if self.diff_id is None:
            return "sha256", "sha256"
        return (self.stored_digest or self.diff_id).algorithm, self.diff_id.algorithm

    def matches(self, header: "IndexHeader") -> bool:
        """Whether `header` is of this very layer. An index of another may be right, and the image wrong."""
        size = header.size if self.size is None else self.size
        diff_id = header.diff_id if self.diff_id is None else self.diff_id
        recorded = (self.compression, diff_id, self.stored_size, size)
        return (header.compression, header.diff_id, header.stored_size, header.size) == recorded

    def verify(self, header: "IndexHeader") -> None:
        """Compare what a pass found with what is recorded. Raises Corrupt."""
        if self.diff_id not in (None, header.diff_id):
            raise Corrupt(f"{self.name}: failed to verify, it decodes to {header.diff_id}")
        if self.stored_digest not in (None, header.stored_digest):
            raise Corrupt(f"{self.name}: failed to verify, its stored bytes are {header.stored_digest}")
        if self.size not in (None, header.size):
            raise Corrupt(f"{self.name}: it decodes to {header.size} bytes where {self.size} are recorded")


class Section(msgspec.Struct, frozen=True, array_like=True):
    """Where a section lies, in bytes from the end of the header, and its hash."""

    offset: Size
    size: Size
    hash: bytes


class IndexHeader(msgspec.Struct, frozen=True):
    """The start of an index: what is known of the whole layer.

    `ending` is where its end-of-archive region begins, None if it has none; `damage` says why its members are not
    all known, empty when they are. `archive` is the path of an archive that this is the index of, made printable, else
    empty. Sizes in bytes.
    """

    compression: Compression
    stored_digest: str
    stored_size: Size
    diff_id: str
    size: Size
    ending: Size | None
    damage: str
    sections: Mapping[str, Section] = {}
    archive: str = ""


class IndexData(msgspec.Struct, frozen=True):
    """What a pass found: the header and the sections of the layer's index."""

    header: IndexHeader
    sections: dict[str, bytes]


class LayerIndex:
    """An index: its header and its `packed` seek points and spans, whose windows are in `windows`.

    `read` returns the section `members` or `files` when it is asked for. An index holds no open file, so nothing has to
    be closed where it is dropped. The constructor and every method raise Corrupt for what does not fit, and what `read`
    raises. Only one with `checksums`, of the blocks of the stored and of the decoded bytes, serves local copies.
    """

    def __init__(
        self,
        header: IndexHeader,
        packed: bytes,
        windows: Blob,
        read: Callable[[str], bytes],
        checksums: tuple[bytes, bytes] | None = None,
        level: Level = Level.PROVED,
    ) -> None:
        self.header = header
        self.packed = packed
        self.windows = windows
        self.level = level
        self.has_checksums = checksums is not None
        self.stored_checksums, self.plain_checksums = checksums or (b"", b"")
        """The crc32 of each block of the stored and of the decoded bytes, 4 bytes each, little-endian."""
        self._read = read
        sizes = header.stored_size, header.size
        if checksums is not None and any(
            len(found) != checksums_size(size) for size, found in zip(sizes, checksums, strict=True)
        ):
            _fail("its checksums do not fit")
        is_plain = header.compression is Compression.PLAIN
        self._table, self.spans = parse_map(packed, windows, *sizes, is_plain=is_plain)
        """`spans`: those of the decoded bytes, None if they are not known."""

    @classmethod
    def load(cls, file: Blob, reopen: Callable[[], Blob]) -> "LayerIndex":
        """The index in `file`, which the caller closes, except its members; `reopen` opens the same file again."""
        header, start = _read_start(file)
        packed, windows, *checksums = (
            _section(file, header, start, name) for name in ("spans", "windows", "stored", "plain")
        )

        def read(name: str) -> bytes:
            with reopen() as file:
                return _section(file, header, start, name)

        return cls(header, packed, MemoryBlob(windows), read, (checksums[0], checksums[1]))

    def check_names(self, digest: Digest, diff_id: DiffID | None, stored_size: int) -> None:
        """Raises Corrupt if it says that it is of other stored bytes, or of another tar."""
        header = self.header
        if (header.stored_digest, header.stored_size) != (digest, stored_size):
            _fail(f"of blob {header.stored_digest} of {header.stored_size} bytes")
        if diff_id not in (None, header.diff_id):
            _fail(f"of layer {header.diff_id}")

    @property
    def table(self) -> SeekTable:
        """The codec's seek points. Raises ValueError for a plain layer, which has none."""
        if self._table is None:
            raise ValueError("a layer that is not compressed has no seek points")
        return self._table

    @property
    def memory(self) -> int:
        """About how many bytes of memory it takes."""
        windows = self.windows.size if isinstance(self.windows, MemoryBlob) else 0
        checksums = len(self.stored_checksums) + len(self.plain_checksums)
        return checksums + len(self.packed) + windows + (self.spans.memory if self.spans else 0)

    def members(self) -> MemberList:
        """Every member of the tar, in order. May block."""
        return MemberList(self._read("members"))

    def file_digests(self) -> bytes:
        """The sha256 digest of each regular file among the members, in order; none if they are not known. May block."""
        return self._read("files")


def _section(file: Blob, header: IndexHeader, start: int, name: str) -> bytes:
    section = header.sections.get(name)
    if section is None:
        _fail(f"no section {name}")
    data = file.pread(min(section.size, file.size), start + section.offset)
    if len(data) != section.size or _hash(data) != section.hash:
        _fail(f"its section {name} is damaged")
    return data


def read_header(file: Blob) -> IndexHeader:
    """The header of an index, and nothing else of it. Raises Corrupt if it is not as it was written."""
    return _read_start(file)[0]


def _read_start(file: Blob) -> tuple[IndexHeader, int]:
    """The header, and the offset at which the sections begin."""
    start = file.pread(len(_MAGIC) + _LENGTH.size + _MAX_HEADER + _HASH_SIZE, 0)
    head = len(_MAGIC) + _LENGTH.size
    if not start.startswith(_MAGIC) or len(start) < head:
        _fail("of another version, or no index")
    end = head + _LENGTH.unpack(start[len(_MAGIC) : head])[0]
    if _hash(start[:end]) != start[end : end + _HASH_SIZE]:
        _fail("its header is damaged")
    try:
        header = msgpack_decoder(IndexHeader).decode(start[head:end])
        DiffID(header.diff_id), Digest(header.stored_digest)
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidDigest) as error:
        _fail(str(error))
    return header, end + _HASH_SIZE


def _fail(why: str) -> NoReturn:
    raise Corrupt(f"layer index: {why}")


def write_index(file: BinaryIO, header: IndexHeader, sections: Mapping[str, bytes]) -> None:
    """Write an index, header first; `header.sections` is filled in. Raises OSError."""
    placed, offset = {}, 0
    for name, data in sections.items():
        placed[name] = Section(offset, len(data), _hash(data))
        offset += len(data)
    packed = msgspec.msgpack.encode(msgspec.structs.replace(header, sections=placed), enc_hook=str)
    start = _MAGIC + _LENGTH.pack(len(packed)) + packed
    file.write(start + _hash(start))
    for data in sections.values():
        file.write(data)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_HASH_SIZE).digest()
