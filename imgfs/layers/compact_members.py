"""The members of a layer packed for a registry, in half the bytes that `member_list` takes for them in the cache.

Form: a magic line, then batches as `member_list` has them, of members whose places are written as differences: where
one begins from where the one before ends, its header and its data from there, its size from that of its data.
"""

import struct
from collections.abc import Iterable, Iterator

import msgspec

from imgfs.codec.zstd_module import pack, unpack
from imgfs.decoders import msgpack_decoder
from imgfs.errors import Corrupt
from imgfs.tar import Member
from imgfs.tar.fields import BLOCK, padded

MAGIC = b"imgfs members, version 1\n"
_LENGTH = struct.Struct("<I")
_BATCH = 8192  # members; the same on every machine, so that the same layer has the same bytes
_BATCH_TEXT = 8 << 20  # bytes of names and attributes
_LARGEST = 64 << 20
_LEVEL = 9


def compact(members: Iterable[Member]) -> bytes:
    """Some members in order, packed for `expand`."""
    encoder = msgspec.msgpack.Encoder()
    packed, batch, text, end = bytearray(MAGIC), list[Member](), 0, 0
    for member in members:
        batch.append(_moved(member, -end, -1))
        end = member.data_offset + padded(member.stored_size)
        text += len(member.name) + len(member.linkname) + sum(map(len, (member.xattrs or {}).values()))
        if len(batch) >= _BATCH or text > _BATCH_TEXT:
            _append(packed, encoder.encode(batch))
            batch, text = [], 0
    if batch:
        _append(packed, encoder.encode(batch))
    return bytes(packed)


def expand(packed: bytes) -> Iterator[Member]:
    """The members that were packed by `compact`. Raises Corrupt if these are none."""
    decoder = msgpack_decoder(list[Member])
    view, position, end = memoryview(packed), len(MAGIC), 0
    try:
        while position < len(view):
            (length,) = _LENGTH.unpack_from(view, position)
            frame = view[position + _LENGTH.size : position + _LENGTH.size + length]
            for member in decoder.decode(unpack(frame, _LARGEST, "a batch of the list of members")):
                found = _moved(member, end, 1)
                if not 0 <= found.offset <= found.header_offset <= found.data_offset or found.size < 0:
                    raise Corrupt("list of members: out of order")
                end = found.data_offset + padded(found.stored_size)
                yield found
            position += _LENGTH.size + length
    except (msgspec.MsgspecError, UnicodeDecodeError, struct.error) as error:
        raise Corrupt(f"list of members: {error}") from None


def _moved(member: Member, end: int, sign: int) -> Member:
    """A member whose places are written as differences if `sign` is -1, or as places again if it is 1."""
    if sign < 0:
        offset, header = member.offset + end, member.header_offset - member.offset
        data, size = member.data_offset - member.header_offset - BLOCK, member.size - member.stored_size
    else:
        offset = member.offset + end
        header = offset + member.header_offset
        data, size = header + member.data_offset + BLOCK, member.size + member.stored_size
    return msgspec.structs.replace(member, offset=offset, header_offset=header, data_offset=data, size=size)


def _append(packed: bytearray, batch: bytes) -> None:
    frame = pack(batch, _LEVEL)
    packed += _LENGTH.pack(len(frame)) + frame
