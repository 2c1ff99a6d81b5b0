"""Seek points and spans of a blob as bytes: the middle of the index of a layer, in the cache and in registries.

Form: the number of places, the length of their columns and the size of a digest (0 or 32), then the columns, packed by
zstd: the kind of each place, then as variable-length integers (LEB128) the distance of its decoded offset from the one
before, the distance of its stored bit from the one before that has one, and the size of its window if its kind has one.
The sha256 digests of spans, one for each place, follow as they are. The windows, zstd each, lie end to end in another
blob. What is parsed is not trusted: it is checked, and Corrupt if it does not fit.
"""

import struct
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise

from imgfs.blob import Blob
from imgfs.codec.seek_table import SeekTable
from imgfs.codec.span_hasher import Spans
from imgfs.codec.span_table import SpanTable
from imgfs.codec.spans import plain_spans, spans_of
from imgfs.codec.zstd_module import pack, unpack
from imgfs.errors import Corrupt

_HEADER = struct.Struct("<IIB")
_NOT_ALONE, _IN_MEMBER, _AT_START = 0, 1, 2
"""Kinds of places: reached only from the one before; a bit of deflate data, with a window; where a frame begins."""
_DIGEST_SIZE = 32
_MOST_PLACES = 1 << 20  # 1 TiB of spans; each takes 200 bytes of memory while it is parsed
_LONGEST_NUMBER = 9  # bytes, of 63 bits
_LARGEST = (1 << 63) - 1


def pack_map(table: SeekTable | None, spans: Spans | None) -> bytes:
    """The seek points of a blob, None of one that is not compressed, and its spans, None if they are not known."""
    points = {offset: (bit, size) for offset, bit, size in table.points()} if table is not None else None
    offsets = sorted(points or ()) if spans is None else spans.offsets
    kinds, bits, sizes = bytearray(), [], []
    for offset in offsets:
        bit, size = (8 * offset, 0) if points is None else points.get(offset, (-1, 0))
        kinds.append(_NOT_ALONE if bit < 0 else _IN_MEMBER if size else _AT_START)
        bits += [bit] if bit >= 0 else []
        sizes += [size] if size else []
    columns = [_distances(offsets), _distances(bits), sizes]
    packed = pack(kinds + b"".join(map(_packed_numbers, columns)))
    header = _HEADER.pack(len(offsets), len(packed), 0 if spans is None else _DIGEST_SIZE)
    return header + packed + (b"" if spans is None else spans.digests)


def parse_map(
    packed: bytes, windows: Blob, stored_size: int, size: int, *, is_plain: bool
) -> tuple[SeekTable | None, SpanTable | None]:
    """What `pack_map` was given, of a blob of `stored_size` bytes that decodes to `size`. Raises Corrupt."""
    if len(packed) < _HEADER.size:
        raise Corrupt("seek table is cut off")
    count, length, digest_size = _HEADER.unpack_from(packed)
    digests = packed[_HEADER.size + length :]
    if count > min(_MOST_PLACES, max(size, 1)) or digest_size not in (0, _DIGEST_SIZE):
        raise Corrupt("seek table has an impossible header")
    if len(digests) != count * digest_size:
        raise Corrupt("seek table has digests that do not fit")
    limit = count * (1 + 3 * _LONGEST_NUMBER)
    columns = unpack(packed[_HEADER.size : _HEADER.size + length], limit, "the seek table")
    kinds, numbers = columns[:count], list(_numbers(columns[count:]))
    if len(kinds) < count or any(kind > _AT_START for kind in set(kinds)):
        raise Corrupt("seek table has places of an unknown kind")
    if len(numbers) != count + sum(map(bool, kinds)) + kinds.count(_IN_MEMBER):
        raise Corrupt("seek table has columns that do not fit")
    offsets = _sums(numbers[:count], size)
    entries = [(offset, kind) for offset, kind in zip(offsets, kinds, strict=True) if kind]
    bits = _sums(numbers[count : count + len(entries)], 8 * stored_size)
    if is_plain:
        if any(bit != 8 * offset for offset, bit in zip(offsets, bits, strict=False)) or len(bits) != count:
            raise Corrupt("seek table of a plain blob has other places")
        return None, plain_spans(size, offsets, digests) if digest_size else None
    sizes = iter(numbers[count + len(entries) :])
    ends = list(accumulate(next(sizes) if kind == _IN_MEMBER else 0 for _, kind in entries))
    if ends and ends[-1] > windows.size:
        raise Corrupt("seek table has windows out of order")
    points = array("Q", [offset for offset, _ in entries] or [0])
    table = SeekTable(stored_size, size, points, array("Q", bits or [0]), array("Q", ends or [0]), windows)
    return table, spans_of(table, offsets, digests) if digest_size else None


def _distances(values: Iterable[int]) -> list[int]:
    return [b - a for a, b in pairwise([0, *values])]


def _sums(distances: list[int], most: int) -> "array[int]":
    sums = list(accumulate(distances))
    if sums and sums[-1] > min(most, _LARGEST):
        raise Corrupt("seek table has places outside the blob")
    return array("Q", sums)


def _packed_numbers(numbers: Iterable[int]) -> bytes:
    packed = bytearray()
    for number in numbers:
        while number > 0x7F:
            packed.append(number & 0x7F | 0x80)
            number >>= 7
        packed.append(number)
    return bytes(packed)


def _numbers(packed: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
            if shift > 7 * _LONGEST_NUMBER:
                raise Corrupt("seek table has a number that is too large")
        else:
            yield number
            number = shift = 0
    if shift:
        raise Corrupt("seek table is cut off")
