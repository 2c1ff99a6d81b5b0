"""What one pass over a layer's stored bytes teaches, and the file that remembers it.

File: a magic line, the length of the facts, the facts (msgpack) and their hash, then sections, each hashed in the
facts. The facts are checked when a file is opened, a section when it is read; whatever is not as it was written
is Corrupt, and the index is made anew. A cache is the only place these files come from; see `cache`.
"""

import hashlib
import struct
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, BinaryIO, NoReturn

import msgspec

from imgfs.blob import Blob, MemoryBlob
from imgfs.blob.checked import checksums_size
from imgfs.codec import Compression, SeekTable
from imgfs.decoders import msgpack_decoder
from imgfs.digest import DiffID, Digest
from imgfs.errors import Corrupt, InvalidDigest
from imgfs.layers.member_list import MemberList

_MAGIC = b"imgfs layer index, version 4\n"
_LENGTH = struct.Struct("<I")
_HASH_SIZE = 16
_MAX_FACTS = 1 << 16

Size = Annotated[int, msgspec.Meta(ge=0)]


class Section(msgspec.Struct, frozen=True, array_like=True):
    """Where a section lies, counted from the end of the facts, and its hash."""

    offset: Size
    size: Size
    hash: bytes


class Facts(msgspec.Struct, frozen=True):
    """What is known of a layer.

    `ending` is where its end-of-archive region begins, None if it has none; `damage` says why its members are not
    all known, empty when they are. Sizes in bytes.
    """

    compression: Compression
    stored_digest: str
    stored_size: Size
    diff_id: str
    size: Size
    ending: Size | None
    damage: str
    sections: Mapping[str, Section] = {}


class LayerIndex:
    """An index in a file, which stays open; sections are read when they are asked for.

    Raises Corrupt, from the constructor or any method, if the file is not as it was written.
    """

    def __init__(self, file: Blob) -> None:
        self._file = file
        self.facts, self._sections_start = self._read_facts()

    @cached_property
    def stored_checksums(self) -> bytes:
        """The crc32 of each block of the stored bytes, 4 bytes each, little-endian."""
        return self._section("stored")

    @cached_property
    def plain_checksums(self) -> bytes:
        """The crc32 of each block of the decoded bytes, 4 bytes each, little-endian."""
        return self._section("plain")

    @cached_property
    def table(self) -> SeekTable:
        """The codec's seek points; there are none for a plain layer."""
        return SeekTable.load(MemoryBlob(self._section("points")))

    @property
    def memory(self) -> int:
        """Bytes in memory that it takes, about, once everything but the members was asked for."""
        sections = (self.facts.sections.get(name) for name in ("stored", "plain", "points"))
        return sum(section.size for section in sections if section)

    def is_of(self, compression: Compression, diff_id: DiffID, stored_size: int, size: int | None) -> bool:
        """Whether this is the index of that very layer; a `size` of None is any."""
        facts = self.facts
        said = (compression, diff_id, stored_size, facts.size if size is None else size)
        return (facts.compression, facts.diff_id, facts.stored_size, facts.size) == said

    def check(self) -> None:
        """Read everything but the members. Raises Corrupt if anything does not fit the rest."""
        facts = self.facts
        sizes = (facts.stored_size, facts.size)
        for size, found in zip(sizes, (self.stored_checksums, self.plain_checksums), strict=True):
            if len(found) != checksums_size(size):
                self._fail("its checksums do not fit")
        if facts.compression is not Compression.PLAIN and (self.table.stored_size, self.table.size) != sizes:
            self._fail("its seek points do not fit")

    def members(self) -> MemberList:
        """Every member of the tar, in order."""
        return MemberList(self._section("members"))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_facts(self) -> tuple[Facts, int]:
        start = self._file.pread(len(_MAGIC) + _LENGTH.size + _MAX_FACTS + _HASH_SIZE, 0)
        head = len(_MAGIC) + _LENGTH.size
        if not start.startswith(_MAGIC) or len(start) < head:
            self._fail("of another version, or no index")
        end = head + _LENGTH.unpack(start[len(_MAGIC) : head])[0]
        if _hash(start[:end]) != start[end : end + _HASH_SIZE]:
            self._fail("its facts are damaged")
        try:
            facts = msgpack_decoder(Facts).decode(start[head:end])
            DiffID(facts.diff_id), Digest(facts.stored_digest)
        except (msgspec.MsgspecError, UnicodeDecodeError, InvalidDigest) as error:
            self._fail(str(error))
        return facts, end + _HASH_SIZE

    def _section(self, name: str) -> bytes:
        section = self.facts.sections.get(name)
        if section is None:
            self._fail(f"no section {name}")
        data = self._file.pread(min(section.size, self._file.size), self._sections_start + section.offset)
        if len(data) != section.size or _hash(data) != section.hash:
            self._fail(f"its section {name} is damaged")
        return data

    def _fail(self, why: str) -> NoReturn:
        raise Corrupt(f"layer index: {why}")


def write_index(file: BinaryIO, facts: Facts, sections: Mapping[str, bytes]) -> None:
    """Write an index, facts first; `facts.sections` is filled in. Raises OSError."""
    placed, offset = {}, 0
    for name, data in sections.items():
        placed[name] = Section(offset, len(data), _hash(data))
        offset += len(data)
    packed = msgspec.msgpack.encode(msgspec.structs.replace(facts, sections=placed), enc_hook=str)
    start = _MAGIC + _LENGTH.pack(len(packed)) + packed
    file.write(start + _hash(start))
    for data in sections.values():
        file.write(data)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_HASH_SIZE).digest()
