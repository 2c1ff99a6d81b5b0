"""The members of a layer's tar as its index keeps them: packed as they are found, never all in memory at once.

A tar may hold any number of members and compress to nearly nothing, so there is a limit to what listing them may
take. Form: batches, each the length of a zstd frame that holds a msgpack array of members, and the frame.
"""

import struct
from collections.abc import Iterator, Sequence

import msgspec
import zstandard

from imgfs.decoders import msgpack_decoder
from imgfs.errors import Corrupt
from imgfs.tar import Member

MOST_MEMORY = 1 << 30
"""Bytes that all members of one layer may take once they are listed: two million of the usual kind."""

_LENGTH = struct.Struct("<I")
_BATCH_MEMORY = 512 << 10
_LARGEST_BATCH = 64 << 20
_LARGEST_MEMBER = _LARGEST_BATCH - 2 * _BATCH_MEMORY  # packed, members are smaller than what they count as
_MEMBER_SIZE, _PART_SIZE = 500, 150  # bytes that a member without its names takes, and a part of one


class MemberPacker:
    """Takes members in order and packs them."""

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._compressor = zstandard.ZstdCompressor(level=3)
        self._packed = bytearray()
        self._batch: list[Member] = []
        self._batch_memory = self._memory = 0

    def add(self, members: Sequence[Member]) -> None:
        """Take the members that come next. Raises Corrupt, naming the first that is too many to be listed."""
        for member in members:
            memory = _memory(member)
            self._batch_memory += memory
            if memory > _LARGEST_MEMBER or self._memory + self._batch_memory > MOST_MEMORY:
                raise Corrupt(f"tar header at offset {member.offset}: one of too many")
            self._batch.append(member)
            if self._batch_memory > _BATCH_MEMORY:
                self._pack()

    def finish(self) -> bytes:
        """All that were taken, for `unpack_members`."""
        self._pack()
        return bytes(self._packed)

    def _pack(self) -> None:
        frame = self._compressor.compress(self._encoder.encode(self._batch))
        self._packed += _LENGTH.pack(len(frame)) + frame
        self._memory += self._batch_memory
        self._batch, self._batch_memory = [], 0


def unpack_members(packed: bytes) -> list[Member]:
    """The members that a MemberPacker took. Raises Corrupt if `packed` is not what it made."""
    decoder = msgpack_decoder(list[Member])
    members: list[Member] = []
    try:
        for frame in _frames(packed):
            members += decoder.decode(zstandard.ZstdDecompressor().decompress(frame))
    except (zstandard.ZstdError, msgspec.MsgspecError, struct.error) as error:
        raise Corrupt(f"list of members: {error}") from None
    return members


def _frames(packed: bytes) -> Iterator[memoryview]:
    position = 0
    while position < len(packed):
        (length,) = _LENGTH.unpack_from(packed, position)
        frame = memoryview(packed)[position + _LENGTH.size : position + _LENGTH.size + length]
        if not 0 < zstandard.frame_content_size(frame) < _LARGEST_BATCH:
            raise Corrupt("list of members: a batch of an impossible size")
        yield frame
        position += _LENGTH.size + length


def _memory(member: Member) -> int:
    """Bytes that a member takes in memory, about."""
    names = (member.name, member.linkname, member.uname, member.gname)
    memory = _MEMBER_SIZE + sum(map(len, names))
    if member.sparse:
        memory += _PART_SIZE * len(member.sparse)
    if member.xattrs:
        memory += _PART_SIZE * len(member.xattrs)
        memory += sum(len(name) + len(value) for name, value in member.xattrs.items())
    return memory
