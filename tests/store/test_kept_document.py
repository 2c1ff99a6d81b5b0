"""Documents in memory."""

import gc
import tracemalloc
from random import Random

from imgfs.store import DocumentPacker, KeptDocument


def test_each_is_read_as_it_was_kept() -> None:
    random = Random(1)
    documents = [random.randbytes(random.choice([0, 1, 700, 9000, 100_000])) for _ in range(200)]
    packer = DocumentPacker()
    kept = [packer.keep(data) for data in documents]
    assert [each.read() for each in kept] == documents
    assert [each.size for each in kept] == list(map(len, documents))


def test_those_with_the_same_bytes_are_equal() -> None:
    packer = DocumentPacker()
    first = packer.keep(b"{}")
    packer.keep(bytes(1 << 20))
    assert first == packer.keep(b"{}") == KeptDocument(b"{}") == KeptDocument.alone(b"{}")
    assert hash(first) == hash(KeptDocument(b"{}"))
    assert first != KeptDocument(b"[]")


def test_thousands_that_are_much_alike_take_little_memory() -> None:
    packer, size = DocumentPacker(), 4000
    filling = Random(1).randbytes(size // 2).hex()
    tracemalloc.start()
    try:
        kept = [packer.keep(f"{number:08} {filling}".encode()) for number in range(2000)]
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < sum(each.size for each in kept) / 4
