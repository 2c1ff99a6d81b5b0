"""The process that rapidgzip runs in: a program of its own, which imports nothing of imgfs.

Arguments: the folders to import from; descriptors of the shared memory, of the socket on which decoded chunks are
announced and of the one on which stored blocks are asked for; the size of the blob, workers and chunk size, and
whether seek points are announced. The protocol is described in `parallel_gzip`. Tried by the tests of that.
"""

import io
import mmap
import os
import resource
import struct
import sys
from collections import OrderedDict
from contextlib import suppress
from threading import Lock

BLOCK_SIZE = 1 << 20
"""Bytes of a slot of the shared memory: of a stored block, or of a decoded chunk."""
STORED_SLOTS = 8
"""Slots of stored blocks, which come first."""
DECODED_SLOTS = 8
"""Slots of decoded chunks that this process may fill ahead; they come next."""
SLOTS = 44
"""All slots. The last 28 take the places of those whose chunks the other process still uses."""
ASK = struct.Struct("<QB")  # the block, and the slot it is to be put into
ANSWER = struct.Struct("<I")  # how many bytes it has
# the slot, and how many bytes are in it; 0 for the end, after which comes the index
CHUNK = struct.Struct("<BI")
# after a chunk, if seek points are announced: how many, and the decoded offset of each
COUNT, OFFSET = struct.Struct("<I"), struct.Struct("<Q")


def main() -> None:
    """Decode, announcing each chunk, then write the index. Ends when the other process has ended."""
    folders, *numbers = sys.argv[1:]
    memory_fd, chunks, asks, size, workers, chunk_size, announces = map(int, numbers)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory runs out, this process goes first
    sys.path[:] = folders.split(os.pathsep)
    from rapidgzip import RapidgzipFile

    memory = memoryview(mmap.mmap(memory_fd, SLOTS * BLOCK_SIZE))
    reader = RapidgzipFile(_Stored(memory, asks, size), parallelization=workers, chunk_size=chunk_size)
    free = list(range(STORED_SLOTS, STORED_SLOTS + DECODED_SLOTS))
    decoded, position, known = 1, 0, -1  # `known`: the last point that was announced
    while decoded:
        if not free:
            free += os.read(chunks, DECODED_SLOTS) or _end()
        slot = free.pop()
        decoded = reader.readinto(memory[slot * BLOCK_SIZE : (slot + 1) * BLOCK_SIZE])
        os.write(chunks, CHUNK.pack(slot, decoded))
        position += decoded
        if decoded and announces:
            # all points of what was decoded are known, and they are announced in order
            offsets = reader.available_block_offsets().values() if known < position else ()
            points = sorted(offset for offset in offsets if offset > known)
            known = points[-1] if points else known
            _write(chunks, COUNT.pack(len(points)) + b"".join(map(OFFSET.pack, points)))
    reader.export_index(_Index(chunks))
    _end(0)  # without the destructors of rapidgzip, which may abort


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _end(status: int = 1) -> bytes:
    os._exit(status)


class _Stored(io.RawIOBase):
    """The stored bytes as a file; the blocks used last are kept in the shared memory."""

    def __init__(self, memory: memoryview, asks: int, size: int) -> None:
        super().__init__()
        self._memory = memory
        self._asks = asks
        self._size = size
        self._position = 0
        self._slots: OrderedDict[int, tuple[int, int]] = OrderedDict()  # of a block: its slot and bytes in it
        self._lock = Lock()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer is 3.12
        taken = 0
        while taken < len(buffer):
            number, start = divmod(self._position, BLOCK_SIZE)
            with self._lock:
                slot, size = self._block(number) if self._position < self._size else (0, 0)
                part = min(size - start, len(buffer) - taken)
                if part <= 0:
                    break
                first = slot * BLOCK_SIZE + start
                buffer[taken : taken + part] = self._memory[first : first + part]
            self._position += part
            taken += part
        return taken

    def _block(self, number: int) -> tuple[int, int]:
        if number not in self._slots:
            is_full = len(self._slots) == STORED_SLOTS
            slot = self._slots.popitem(last=False)[1][0] if is_full else len(self._slots)
            os.write(self._asks, ASK.pack(number, slot))
            answer = os.read(self._asks, ANSWER.size) or _end()
            self._slots[number] = slot, ANSWER.unpack(answer)[0]
        self._slots.move_to_end(number)
        return self._slots[number]


class _Index(io.RawIOBase):
    """The socket as the file that the index is written to, in order."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._position = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True  # rapidgzip asks, and seeks to the start when it begins and when it is done

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._position

    def write(self, data: bytes) -> int:  # type: ignore[override]  # typeshed's Buffer is 3.12
        _write(self._fd, data)
        self._position += len(data)
        return len(data)


if __name__ == "__main__":
    main()
