"""A whole gzip blob decoded by zlib, in this thread and with little memory, seek points included.

On request zlib stops between deflate blocks (zlib.h: inflate, Z_BLOCK), where decoding can start. Python's zlib module
does not offer that, so the library is called by ctypes.
"""

import ctypes
from collections.abc import Generator

from imgfs.blob import Blob
from imgfs.codec.codec import CHUNK_SIZE
from imgfs.codec.cursor import Cursor
from imgfs.codec.gzip_members import Check, begins_member, check_trailer, skip_header
from imgfs.codec.parallel_gzip import TooDense, Unreliable
from imgfs.codec.seek_table import WINDOW_SIZE, SeekTableBuilder

_SPACING = 2 << 20  # decoded bytes from one point to where the next is looked for
_OK, _STREAM_END, _BUFFER_ERROR = 0, 1, -5
_NO_FLUSH, _BLOCK = 0, 5
_BETWEEN_BLOCKS, _IN_LAST_BLOCK, _UNUSED_BITS = 128, 64, 7  # of data_type


class _Stream(ctypes.Structure):
    """z_stream."""

    _fields_ = (
        ("next_in", ctypes.c_char_p),
        ("avail_in", ctypes.c_uint),
        ("total_in", ctypes.c_ulong),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint),
        ("total_out", ctypes.c_ulong),
        ("msg", ctypes.c_char_p),
        ("state", ctypes.c_void_p),
        ("zalloc", ctypes.c_void_p),
        ("zfree", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("data_type", ctypes.c_int),
        ("adler", ctypes.c_ulong),
        ("reserved", ctypes.c_ulong),
    )


def gunzip_blocks(
    blob: Blob,
    builder: SeekTableBuilder,
    spare: list[object],
    limit: int | None = None,
    spacing: int = _SPACING,
) -> Generator[memoryview, None, None]:
    """The decoded bytes in chunks of at most `CHUNK_SIZE`, and seek points for `builder` as they are passed.

    From one point to where the next is looked for are `spacing` decoded bytes. Decodes into byte arrays in `spare`,
    each of that size, as long as there are any. Raises TooDense once more than
    `limit` bytes were decoded, Unreliable if there is no zlib or it rejects the data, Corrupt, and what `pread` raises.
    """
    inflater = _Inflater(builder, spacing)
    try:
        cursor = Cursor(blob)
        follows = True
        while follows:
            start = cursor.offset
            skip_header(cursor)
            check = Check()
            inflater.begin(cursor.offset)
            while not inflater.is_over:
                chunk = inflater.fill(cursor, _buffer(spare))
                check.update(chunk)
                yield chunk
                if limit is not None and inflater.offset > limit:
                    raise TooDense
            check_trailer(cursor, start, check)
            follows = begins_member(cursor)
    finally:
        inflater.close()


def _buffer(spare: list[object]) -> bytearray:
    """A buffer that is given back, or a new one."""
    while spare:
        if isinstance(buffer := spare.pop(), bytearray):
            return buffer
    return bytearray(CHUNK_SIZE)


class _Inflater:
    """zlib's decoder of one member after another."""

    def __init__(self, builder: SeekTableBuilder, spacing: int) -> None:
        """Raises Unreliable if there is no zlib."""
        try:
            self._zlib = ctypes.CDLL("libz.so.1")
        except OSError as error:
            raise Unreliable(str(error)) from error
        self._zlib.zlibVersion.restype = ctypes.c_char_p
        self._stream = _Stream()
        self._handle = ctypes.byref(self._stream)
        version, size = self._zlib.zlibVersion(), ctypes.sizeof(_Stream)
        if self._zlib.inflateInit2_(self._handle, -15, version, size) != _OK:
            raise Unreliable("not enough memory for zlib")
        self._builder = builder
        self._spacing = self._wanted = spacing  # the decoded offset from which on a point is due
        self._window = b""  # what was decoded before the buffer that is being filled
        self._stored = b""  # kept alive: zlib points into it
        self.offset = 0
        """How many bytes have been decoded."""
        self.is_over = False
        """Whether the member has ended."""

    def begin(self, offset: int) -> None:
        """Begin a member whose first block is at this stored offset."""
        self._zlib.inflateReset(self._handle)
        self.is_over = False
        if self.offset >= self._wanted:
            self._add_point(8 * offset, b"")

    def fill(self, cursor: Cursor, buffer: bytearray) -> memoryview:
        """Decode into `buffer` until it is full or the member ends; leaves the cursor after the bytes that were used.

        Raises Unreliable if zlib rejects the data, or it is cut off.
        """
        stream = self._stream
        place = ctypes.c_char.from_buffer(buffer)  # held until the buffer is filled
        stream.next_out, stream.avail_out = ctypes.addressof(place), len(buffer)
        while stream.avail_out and not self.is_over:
            if not stream.avail_in:
                self._stored = cursor.take_some()
                stream.next_in, stream.avail_in = self._stored, len(self._stored)
            before = stream.avail_out
            is_due = self.offset >= self._wanted
            room = before if is_due else min(before, self._wanted - self.offset)
            stream.avail_out = room
            status = self._zlib.inflate(self._handle, _BLOCK if is_due else _NO_FLUSH)
            made = room - stream.avail_out
            stream.avail_out = before - made
            self.offset += made
            if status == _STREAM_END:
                self.is_over = True
                cursor.put_back(stream.avail_in)
                stream.avail_in = 0
            elif status not in (_OK, _BUFFER_ERROR) or not (made or stream.avail_in or self._stored):
                raise Unreliable((stream.msg or b"cut off").decode("ascii", "replace"))
            elif is_due and stream.data_type & _BETWEEN_BLOCKS and not stream.data_type & _IN_LAST_BLOCK:
                bit = 8 * (cursor.offset - stream.avail_in) - (stream.data_type & _UNUSED_BITS)
                self._add_point(bit, self._window_at(buffer))
        self._window = self._window_at(buffer)
        return memoryview(buffer)[: len(buffer) - stream.avail_out]

    def _add_point(self, bit: int, window: bytes) -> None:
        self._builder.add(self.offset, bit, window)
        self._wanted = self.offset + self._spacing

    def _window_at(self, buffer: bytearray) -> bytes:
        """What was decoded last, up to `WINDOW_SIZE` bytes, some of it in `buffer`."""
        filled = len(buffer) - self._stream.avail_out
        return (self._window + bytes(buffer[max(0, filled - WINDOW_SIZE) : filled]))[-WINDOW_SIZE:]

    def close(self) -> None:
        """Free zlib's memory."""
        self._zlib.inflateEnd(self._handle)
