"""A whole gzip blob decoded by rapidgzip, on several cores where there are, seek points included.

rapidgzip is fast, but it ends its process where it gets no memory or no thread, calls some cut-off streams
complete and refuses trailing garbage. So it runs in a process of its own, and whatever goes wrong with it is Unsure:
the caller decodes in another way, which says what is the matter. Stored blocks and decoded chunks lie in memory that
both processes have; on one socket the child asks for blocks, on another it announces chunks, and gets their slots back.
"""

import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Generator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from threading import Thread
from typing import BinaryIO

from imgfs.blob import Blob
from imgfs.codec import parallel_gzip_child
from imgfs.codec.gzip_index import read_index
from imgfs.codec.parallel_gzip_child import ANSWER, ASK, BLOCK_SIZE, CHUNK, DECODED_SLOTS, STORED_SLOTS
from imgfs.codec.seek_table import SeekTableBuilder

_CHUNKS_HELD = 20  # by rapidgzip, at most
_MOST_HELD = 320 << 20  # decoded bytes that it may hold at the fast pace


class Unsure(Exception):
    """A decoder failed, or its result cannot be relied on."""


class TooDense(Exception):
    """The data decodes to so many times its size that this pace would take too much memory or time."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How rapidgzip goes about it.

    It holds what about 20 chunks of `chunk_size` stored bytes decode to, up to 20 times that. Seek points lie
    at most a quarter more than `chunk_size` decoded bytes, and one deflate block, apart.
    """

    chunk_size: int
    workers: int
    any_density: bool


def fast() -> Pace:
    """One core is left to the process that takes the chunks; a worker more costs memory."""
    return Pace(5 << 19, max(1, min(4, len(os.sched_getaffinity(0)) - 1)), any_density=False)


def frugal() -> Pace:
    """For data that is nearly all repetition, which one core decodes fast enough."""
    return Pace(1 << 19, 1, any_density=True)


def gunzip_parallel(
    blob: Blob, pace: Pace, builder: SeekTableBuilder, spare: list[bytearray]
) -> Generator[memoryview, None, None]:
    """The decoded bytes in chunks of 1 MiB, and at the end all seek points for `builder`.

    `spare` is buffers of that size to decode into, taken as there are any. `blob` stays the caller's. Closing the
    iterator ends the process. Raises Unsure, TooDense, and what `pread` raises.
    """
    with ExitStack() as stack:
        try:
            child = _Child(blob, pace, stack)
        except (OSError, RuntimeError) as error:  # no memory, no descriptor, no process, no thread
            raise Unsure(str(error)) from error
        position = 0
        marks = deque([(0, 0)])  # stored and decoded offsets that belong together, about
        try:
            while chunk := child.take(spare.pop() if spare else bytearray(BLOCK_SIZE)):
                yield chunk
                position += len(chunk)
                marks.append((child.furthest, position))
                while marks[0][0] < child.furthest - _CHUNKS_HELD * pace.chunk_size:
                    marks.popleft()
                if position - marks[0][1] > _MOST_HELD and not pace.any_density:
                    raise TooDense
            if read_index(child.announced, builder) != position:
                raise Unsure("the index does not fit the data")
        except (OSError, ValueError) as error:
            raise child.failure or Unsure(str(error)) from error


class _Child:
    """The process, the memory shared with it and the thread that reads for it, all of which end with `stack`."""

    def __init__(self, blob: Blob, pace: Pace, stack: ExitStack) -> None:
        """Raises OSError, or RuntimeError if there can be no thread."""
        self._blob = blob
        self.failure: Exception | None = None
        self.furthest = 0
        """How many stored bytes it has asked for."""
        self._memory = os.memfd_create("imgfs gzip")
        stack.callback(os.close, self._memory)
        os.ftruncate(self._memory, (STORED_SLOTS + DECODED_SLOTS) * BLOCK_SIZE)
        self._chunks, their_chunks = _sockets(stack)
        self._asks, their_asks = _sockets(stack)
        self.announced: BinaryIO = stack.enter_context(self._chunks.makefile("rb"))
        """What the child says of decoded chunks, and then the index."""
        theirs = (self._memory, their_chunks.fileno(), their_asks.fileno())
        program = [sys.executable, "-I", "-S", parallel_gzip_child.__file__, os.pathsep.join(sys.path)]
        process = subprocess.Popen(
            [*program, *map(str, (*theirs, blob.size, pace.workers, pace.chunk_size))],
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

    def take(self, buffer: bytearray) -> memoryview:
        """The next chunk, in `buffer`; empty at the end. Raises OSError or ValueError if there is none."""
        head = self.announced.read(CHUNK.size)
        if len(head) < CHUNK.size:
            raise ValueError("rapidgzip failed")
        slot, size = CHUNK.unpack(head)
        view = memoryview(buffer)[:size]
        if os.preadv(self._memory, [view], slot * BLOCK_SIZE) < size:
            raise ValueError("rapidgzip failed")
        if size:
            with suppress(BrokenPipeError):  # one that has decoded all is gone, and wants no room
                self._chunks.send(bytes([slot]))
        return view

    def _serve(self) -> None:
        """Read the blocks that the child asks for, until it is gone or reading fails."""
        try:
            while len(ask := self._asks.recv(ASK.size, socket.MSG_WAITALL)) == ASK.size:
                number, slot = ASK.unpack(ask)
                data = self._blob.pread(BLOCK_SIZE, number * BLOCK_SIZE)
                os.pwrite(self._memory, data, slot * BLOCK_SIZE)
                self.furthest = max(self.furthest, number * BLOCK_SIZE + len(data))
                self._asks.send(ANSWER.pack(len(data)))
        except Exception as error:  # raised again where chunks are taken, unless it is the child that is gone
            if not isinstance(error, BrokenPipeError | ConnectionResetError):
                self.failure = error
        with suppress(OSError):
            self._asks.shutdown(socket.SHUT_RDWR)


def _sockets(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    return stack.enter_context(ours), stack.enter_context(theirs)
