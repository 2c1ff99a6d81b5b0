"""Bytes kept compressed in memory."""

import random
from concurrent.futures import ThreadPoolExecutor

from imgfs.tar.packed import PackedBytes


def test_any_range_is_read_back_by_many_at_once() -> None:
    rng = random.Random(1)
    packed, whole = PackedBytes(), bytearray()
    for _ in range(3_000):
        piece = rng.choice([b"", b"header" * 80, rng.randbytes(200), bytes(5_000)])
        packed.append(piece)
        whole += piece
    packed.finish()
    assert packed.size == len(whole)

    def read_some(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(200):
            start = rng.randrange(len(whole))
            size = min(rng.choice([0, 1, 500, 300_000]), len(whole) - start)
            assert packed.read(size, start) == whole[start : start + size]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_some, range(8)))


def test_what_repeats_takes_little_memory() -> None:
    packed = PackedBytes()
    for _ in range(20_000):
        packed.append(b"a header much like the others".ljust(512, b"\0"))
    packed.finish()
    assert packed.footprint < packed.size / 20


def test_nothing_is_empty() -> None:
    packed = PackedBytes()
    packed.finish()
    assert packed.read(0, 0) == b""
