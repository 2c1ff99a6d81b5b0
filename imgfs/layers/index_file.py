"""What one pass over a layer's stored bytes teaches, and the file that remembers it.

File: a magic line, the length of the facts, the facts (msgpack) and their hash, then sections, each hashed in the
facts. Facts and sections are checked when they are read; whatever is not as it was written
is Corrupt, and the index is made again. A cache is the only place these files come from; see `cache`.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping
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

_MAGIC = b"imgfs layer index, version 6\n"
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

    def are_of(self, compression: Compression, diff_id: DiffID, stored_size: int, size: int | None) -> bool:
        """Whether these are the facts of that very layer; a `size` of None is any."""
        said = (compression, diff_id, stored_size, self.size if size is None else size)
        return (self.compression, self.diff_id, self.stored_size, self.size) == said


class LayerIndex:
    """An index that was read from `file`, all but its members: those are read when they are asked for.

    `file` stays the caller's, and `reopen` opens the same once more: an index holds no file, so that nothing need be
    closed where it is dropped. Raises Corrupt, from the constructor or any method, if the file is not as it was
    written.
    """

    def __init__(self, file: Blob, reopen: Callable[[], Blob]) -> None:
        self.facts, self._sections_start = _read_start(file)
        self._reopen = reopen
        self._points = self._section(file, "points")
        self.stored_checksums = self._section(file, "stored")
        """The crc32 of each block of the stored bytes, 4 bytes each, little-endian."""
        self.plain_checksums = self._section(file, "plain")
        """The crc32 of each block of the decoded bytes, 4 bytes each, little-endian."""
        self._check()

    @cached_property
    def table(self) -> SeekTable:
        """The codec's seek points; there are none for a plain layer."""
        return SeekTable.load(MemoryBlob(self._points))

    @property
    def memory(self) -> int:
        """Bytes in memory that it takes, about."""
        return len(self.stored_checksums) + len(self.plain_checksums) + len(self._points)

    def members(self) -> MemberList:
        """Every member of the tar, in order. May block; raises what `reopen` raises, too."""
        with self._reopen() as file:
            return MemberList(self._section(file, "members"))

    def _check(self) -> None:
        sizes = (self.facts.stored_size, self.facts.size)
        for size, found in zip(sizes, (self.stored_checksums, self.plain_checksums), strict=True):
            if len(found) != checksums_size(size):
                _fail("its checksums do not fit")
        if self.facts.compression is Compression.PLAIN:
            return
        if (self.table.stored_size, self.table.size) != sizes:
            _fail("its seek points do not fit")

    def _section(self, file: Blob, name: str) -> bytes:
        section = self.facts.sections.get(name)
        if section is None:
            _fail(f"no section {name}")
        data = file.pread(min(section.size, file.size), self._sections_start + section.offset)
        if len(data) != section.size or _hash(data) != section.hash:
            _fail(f"its section {name} is damaged")
        return data


def read_facts(file: Blob) -> Facts:
    """The facts of an index, of which nothing else is read. Raises Corrupt if they are not as they were written."""
    return _read_start(file)[0]


def _read_start(file: Blob) -> tuple[Facts, int]:
    """The facts, and where the sections begin."""
    start = file.pread(len(_MAGIC) + _LENGTH.size + _MAX_FACTS + _HASH_SIZE, 0)
    head = len(_MAGIC) + _LENGTH.size
    if not start.startswith(_MAGIC) or len(start) < head:
        _fail("of another version, or no index")
    end = head + _LENGTH.unpack(start[len(_MAGIC) : head])[0]
    if _hash(start[:end]) != start[end : end + _HASH_SIZE]:
        _fail("its facts are damaged")
    try:
        facts = msgpack_decoder(Facts).decode(start[head:end])
        DiffID(facts.diff_id), Digest(facts.stored_digest)
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidDigest) as error:
        _fail(str(error))
    return facts, end + _HASH_SIZE


def _fail(why: str) -> NoReturn:
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
