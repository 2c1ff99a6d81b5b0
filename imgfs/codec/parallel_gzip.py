"""A whole gzip blob decoded by rapidgzip, on several cores where there are, seek points included.

rapidgzip is fast, but it ends its process where it gets no memory or no thread, reports some cut-off streams as
complete and rejects trailing garbage. So it runs in a process of its own, and any failure of it is Unreliable: the
caller decodes in another way, which finds what is wrong. Stored blocks and decoded chunks are exchanged in slots of
shared memory. On one socket the child asks for blocks; on another it announces chunks, and learns which slots are free.
"""

import ctypes
import fcntl
import mmap
import os
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from threading import Thread
from typing import BinaryIO

import msgspec

from imgfs.blob import Blob
from imgfs.codec import parallel_gzip_child
from imgfs.codec.parallel_gzip_child import (
    ANSWER,
    ASK,
    BLOCK_SIZE,
    CHUNK,
    COUNT,
    DECODED_SLOTS,
    OFFSET,
    SLOTS,
    STORED_SLOTS,
)
from imgfs.codec.seek_table import SeekTableBuilder

_CHUNKS_HELD = 20  # by rapidgzip, at most
_MOST_HELD = 320 << 20  # decoded bytes that it may hold in a fast pass
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL  # no process can take mapped memory away

_INDEX = struct.Struct("<5sBxQQIII")  # magic, version, stored size, size, spacing, window size, points
_POINT = struct.Struct("<QQBB")  # stored offset, decoded offset, bits, whether a window follows
_MAGIC, _VERSION = b"GZIDX", 1


class Unreliable(Exception):
    """A decoder failed, or its result cannot be relied on."""


class TooDense(Exception):
    """The data decodes to so many times its size that this decoder would take too much memory or time."""


class Parallelism(msgspec.Struct, frozen=True):
    """How many stored bytes rapidgzip decodes at a time, and in how many threads.

    It holds what about 20 chunks of `chunk_size` stored bytes decode to, up to 20 times that. Seek points lie
    at most a quarter more than `chunk_size` decoded bytes, and one deflate block, apart.
    """

    chunk_size: int
    workers: int
    any_density: bool


def fast() -> Parallelism:
    """One core is left to the process that takes the chunks; each worker costs memory."""
    return Parallelism(5 << 19, max(1, min(4, len(os.sched_getaffinity(0)) - 1)), any_density=False)


def steady() -> Parallelism:
    """Finds the same seek points on every machine: those of several workers differ where data is very dense."""
    return Parallelism(5 << 18, 1, any_density=True)


def frugal() -> Parallelism:
    """For data that is nearly all repetition, which one core decodes fast enough."""
    return Parallelism(1 << 19, 1, any_density=True)


class _Slot(ctypes.Array[ctypes.c_char]):
    """A slot of the shared memory, as this process sees it."""

    _type_ = ctypes.c_char
    _length_ = BLOCK_SIZE
    number: int


def gunzip_parallel(
    blob: Blob,
    parallelism: Parallelism,
    builder: SeekTableBuilder,
    spare: list[object],
    announce: Callable[[int], object] | None = None,
) -> Generator[memoryview, None, None]:
    """The decoded bytes in chunks of 1 MiB, and at the end all seek points for `builder`.

    `announce`, if given, gets the decoded offset of each point before any chunk with bytes that follow it.
    The caller puts the buffers of chunks that it no longer needs in `spare`; it may keep any number. `blob` stays the
    caller's. Closing the iterator ends the process. Raises Unreliable, TooDense, and what `pread` raises.
    """
    with ExitStack() as stack:
        try:
            child = _Child(blob, parallelism, spare, stack, announce)
        except (OSError, RuntimeError) as error:  # no memory, no descriptor, no process, no thread
            raise Unreliable(str(error)) from error
        position = 0
        marks = deque([(0, 0)])  # stored and decoded offsets that belong together, about
        try:
            while chunk := child.take():
                yield chunk
                position += len(chunk)
                marks.append((child.furthest, position))
                while marks[0][0] < child.furthest - _CHUNKS_HELD * parallelism.chunk_size:
                    marks.popleft()
                if position - marks[0][1] > _MOST_HELD and not parallelism.any_density:
                    raise TooDense
            if read_index(child.announced, builder) != position:
                raise Unreliable("the index does not fit the data")
        except (OSError, ValueError) as error:
            raise child.failure or Unreliable(str(error)) from error


class _Child:
    """The process, the memory shared with it and the thread that reads for it, all of which end with `stack`."""

    def __init__(
        self,
        blob: Blob,
        parallelism: Parallelism,
        spare: list[object],
        stack: ExitStack,
        announce: Callable[[int], object] | None,
    ) -> None:
        """Raises OSError, or RuntimeError if no thread can be started."""
        self._blob = blob
        self._announce = announce
        self._spare = spare
        self.failure: Exception | None = None
        self.furthest = 0
        """How many stored bytes it has asked for."""
        self._memory = os.memfd_create("imgfs gzip", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        stack.callback(os.close, self._memory)
        os.ftruncate(self._memory, SLOTS * BLOCK_SIZE)
        fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS, _SEALS)
        self._slots = _map_slots(self._memory)
        self._free = [*range(STORED_SLOTS + DECODED_SLOTS, SLOTS)]  # those that the child does not have
        self._chunks, their_chunks = _sockets(stack)
        self._asks, their_asks = _sockets(stack)
        self.announced: BinaryIO = stack.enter_context(self._chunks.makefile("rb"))
        """The child's announcements of decoded chunks, then the index."""
        theirs = (self._memory, their_chunks.fileno(), their_asks.fileno())
        program = [sys.executable, "-I", "-S", parallel_gzip_child.__file__, os.pathsep.join(sys.path)]
        pace = parallelism.workers, parallelism.chunk_size, int(announce is not None)
        numbers = (*theirs, blob.size, *pace)
        process = subprocess.Popen(
            [*program, *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=theirs,
            start_new_session=True,  # Ctrl-C is for its parent to act on
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        their_chunks.close()
        their_asks.close()
        reading = Thread(target=self._serve, name="imgfs reading", daemon=True)
        reading.start()
        stack.callback(reading.join)
        stack.callback(self._asks.shutdown, socket.SHUT_RDWR)

    def take(self) -> memoryview:
        """The next chunk; empty at the end. Raises OSError or ValueError if there is none."""
        head = self.announced.read(CHUNK.size)
        if len(head) < CHUNK.size:
            raise ValueError("rapidgzip failed")
        number, size = CHUNK.unpack(head)
        view = memoryview(self._slots[number]).cast("B")[:size]
        if size:
            if self._announce is not None:
                self._take_points(self._announce)
            free = self._take_free()
            if free is None:  # the caller keeps its chunks
                view, free = memoryview(bytearray(view)), number
            with suppress(BrokenPipeError):  # after decoding everything, the child has ended
                self._chunks.send(bytes([free]))
        return view

    def _take_points(self, announce: Callable[[int], object]) -> None:
        (count,) = COUNT.unpack(_read(self.announced, COUNT.size))
        for (offset,) in OFFSET.iter_unpack(_read(self.announced, count * OFFSET.size)):
            announce(offset)

    def _take_free(self) -> int | None:
        """A slot that neither side uses, if there is one."""
        while self._spare:
            slot = self._spare.pop()
            if isinstance(slot, _Slot) and slot is self._slots.get(slot.number):
                self._free.append(slot.number)
        return self._free.pop() if self._free else None

    def _serve(self) -> None:
        """Read the blocks that the child asks for, until it is gone or reading fails."""
        try:
            while len(ask := self._asks.recv(ASK.size, socket.MSG_WAITALL)) == ASK.size:
                number, slot = ASK.unpack(ask)
                data = self._blob.pread(BLOCK_SIZE, number * BLOCK_SIZE)
                # not through the mapping: where there is no memory, that is a signal and not an error
                os.pwrite(self._memory, data, slot * BLOCK_SIZE)
                self.furthest = max(self.furthest, number * BLOCK_SIZE + len(data))
                self._asks.send(ANSWER.pack(len(data)))
        except Exception as error:  # raised again where chunks are taken, unless the child has ended
            if not isinstance(error, BrokenPipeError | ConnectionResetError):
                self.failure = error
        with suppress(OSError):
            self._asks.shutdown(socket.SHUT_RDWR)


def _map_slots(memory: int) -> dict[int, _Slot]:
    """The slots for decoded chunks by number. They stay mapped until the last of them is dropped."""
    mapped = mmap.mmap(memory, SLOTS * BLOCK_SIZE)
    slots = {}
    for number in range(STORED_SLOTS, SLOTS):
        slots[number] = _Slot.from_buffer(mapped, number * BLOCK_SIZE)
        slots[number].number = number
    return slots


def _sockets(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    return stack.enter_context(ours), stack.enter_context(theirs)


def read_index(file: BinaryIO, builder: SeekTableBuilder) -> int:
    """Give every point of an index that rapidgzip exported to `builder`; returns the decoded size that it states.

    The format is indexed_gzip's (its zran.c): after a header come all points, each the stored byte after the one
    it starts in, the decoded offset and how many bits of the byte before belong to it, and after them their windows
    in the same order, one of which is in memory at a time. Raises ValueError if it is no index, or cut off.
    """
    magic, version, _, size, _, window_size, count = _INDEX.unpack(_read(file, _INDEX.size))
    if magic != _MAGIC or version != _VERSION:
        raise ValueError("not an index of gzip seek points")
    for stored, offset, bits, has_window in _POINT.iter_unpack(_read(file, count * _POINT.size)):
        builder.add(offset, 8 * stored - bits, _read(file, window_size) if has_window else b"")
    return int(size)


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise ValueError("the index is cut off")
    return data
