"""The members of a layer's tar, packed as they are found and unpacked as they are used, never all in memory at once.

A tar may hold any number of members and compress to nearly nothing, so there is a limit to what listing them may
take. Form: batches, each the length of a zstd frame that holds a msgpack array of members, and the frame.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

import msgspec

from imgfs.budget import MIB, SMALL, Budget
from imgfs.codec.zstd_module import pack, unpack
from imgfs.decoders import msgpack_decoder
from imgfs.errors import Corrupt, TooMuch
from imgfs.layers.compact_members import MAGIC, expand
from imgfs.tar import Member

MOST_MEMORY, MOST_OF_SMALL = 640 * MIB, 192 * MIB
"""Bytes of memory that the members of one layer may take: those of 1.2 million usual members, or of 360,000 if the
layer is stored in fewer bytes than `budget.SMALL`, which is less than 50 bytes a member: real files take more."""

_LENGTH = struct.Struct("<I")
_BATCH_MEMORY = 512 << 10
_LARGEST_BATCH = 64 * MIB
_LARGEST_MEMBER = _LARGEST_BATCH - 2 * _BATCH_MEMORY  # packed, members are smaller than what they count as
_REMEMBERED = 1024  # sets of extended attributes that are compared with those of later members
_MEMBER_SIZE, _PART_SIZE = 500, 150  # bytes that a member without its names takes, and a part of one


class MemberPacker:
    """Takes the members of a layer that is stored in `stored` bytes, in order, and packs them.

    Names of users and groups are dropped, as nothing shows them.
    """

    def __init__(self, stored: int = SMALL) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._packed = bytearray()
        self._batch: list[Member] = []
        self._batch_memory = 0
        self._budget = Budget("its members", MOST_MEMORY if stored >= SMALL else MOST_OF_SMALL)

    def add(self, members: Iterable[Member]) -> None:
        """Take the next members. Raises Corrupt if they are too many, naming the first that is."""
        for member in members:
            member.uname = member.gname = b""
            memory = _memory(member)
            try:
                self._budget.spend(memory if memory <= _LARGEST_MEMBER else MOST_MEMORY + 1, "they")
            except TooMuch as error:
                raise Corrupt(f"tar header at offset {member.offset}: one of too many ({error})") from None
            self._batch.append(member)
            self._batch_memory += memory
            if self._batch_memory > _BATCH_MEMORY:
                self._pack()

    def finish(self) -> bytes:
        """All members taken, for `unpack_members`."""
        self._pack()
        return bytes(self._packed)

    def _pack(self) -> None:
        frame = pack(self._encoder.encode(self._batch))
        self._packed += _LENGTH.pack(len(frame)) + frame
        self._batch, self._batch_memory = [], 0


class MemberList(Sequence[Member]):
    """Members as a MemberPacker packed them; going through them holds only a few at a time and may raise Corrupt."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def __iter__(self) -> Iterator[Member]:
        return unpack_members(self._packed)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, place: int) -> Member: ...
    @overload
    def __getitem__(self, place: slice) -> list[Member]: ...
    def __getitem__(self, place: int | slice) -> Member | list[Member]:
        if isinstance(place, slice):
            return list(self)[place]
        return next(islice(self, place, None)) if place >= 0 else list(self)[place]


def packed_members(members: Iterable[Member]) -> MemberList:
    """The same members. Raises Corrupt if they are too many, and what going through them raises."""
    packer = MemberPacker()
    packer.add(members)
    return MemberList(packer.finish())


def unpack_members(packed: bytes) -> Iterator[Member]:
    """The members that a MemberPacker took; those with equal attributes share them, so they are not to be changed.

    So, too, those that `compact` took. Raises Corrupt if `packed` is not what they made.
    """
    if packed.startswith(MAGIC):
        yield from expand(packed)
        return
    decoder = msgpack_decoder(list[Member])
    attributes: dict[frozenset[tuple[bytes, bytes]], dict[bytes, bytes]] = {}
    try:
        for frame in _frames(packed):
            for member in decoder.decode(unpack(frame, _LARGEST_BATCH, "a batch of the list of members")):
                if member.xattrs:  # thousands of members often have the same
                    if len(attributes) >= _REMEMBERED:
                        attributes.clear()
                    member.xattrs = attributes.setdefault(frozenset(member.xattrs.items()), member.xattrs)
                yield member
    except (msgspec.MsgspecError, UnicodeDecodeError, struct.error) as error:
        raise Corrupt(f"list of members: {error}") from None


def _frames(packed: bytes) -> Iterator[memoryview]:
    position = 0
    while position < len(packed):
        (length,) = _LENGTH.unpack_from(packed, position)
        yield memoryview(packed)[position + _LENGTH.size : position + _LENGTH.size + length]
        position += _LENGTH.size + length


def _memory(member: Member) -> int:
    """About how many bytes of memory a member takes."""
    memory = _MEMBER_SIZE + len(member.name) + len(member.linkname)
    if member.sparse:
        memory += _PART_SIZE * len(member.sparse)
    if member.xattrs:
        memory += _PART_SIZE * len(member.xattrs)
        memory += sum(len(name) + len(value) for name, value in member.xattrs.items())
    return memory
