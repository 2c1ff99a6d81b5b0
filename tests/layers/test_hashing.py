"""A blob hashed beside its decoder."""

import hashlib
import threading
import time

import pytest

from imgfs.blob import MemoryBlob
from imgfs.blob.checked import checksums
from imgfs.layers.hashing import HASHED_SIZE, StoredHasher
from tests.codec.failing import FailingBlob
from tests.conftest import eventually

DATA = bytes(range(256)) * 300_000  # more than is hashed before anything was decoded


class Counting(MemoryBlob):
    """Remembers how far it was read, and by how many threads."""

    furthest = 0

    def pread(self, size: int, offset: int) -> bytes:
        data = super().pread(size, offset)
        self.furthest = max(self.furthest, offset + len(data))
        return data


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("step", [100_000, 10_000_000, len(DATA)])
def test_everything_is_hashed_however_the_decoder_advances(*, apart: bool, step: int) -> None:
    with StoredHasher(MemoryBlob(DATA), apart=apart) as hasher:
        for _ in range(0, len(DATA), step):
            hasher.advance(step)
            hasher.catch_up()
        digest, blocks = hasher.finish()
    assert digest.hex == hashlib.sha256(DATA).hexdigest()
    assert blocks == checksums([DATA])


@pytest.mark.parametrize("apart", [True, False])
def test_what_the_decoder_left_out_is_hashed_at_the_end(*, apart: bool) -> None:
    with StoredHasher(MemoryBlob(DATA), apart=apart) as hasher:
        digest, _ = hasher.finish()
    assert digest.hex == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("apart", [True, False])
def test_hashing_stays_near_the_decoder(*, apart: bool) -> None:
    blob = Counting(DATA)
    with StoredHasher(blob, apart=apart) as hasher:
        for step in (0, 5 << 20):
            hasher.advance(step)
            hasher.catch_up()
            allowed = step + (16 << 20) * apart
            assert eventually(lambda: blob.furthest >= allowed - HASHED_SIZE)  # noqa: B023
            time.sleep(0.1)  # it could go on
            assert blob.furthest <= allowed + (5 << 20) * apart
        threads = threading.active_count()
    assert blob.furthest < len(DATA), "leaving stops it"
    assert threading.active_count() == threads - apart


@pytest.mark.parametrize("apart", [True, False])
def test_a_failure_to_read_comes_out(*, apart: bool) -> None:
    with StoredHasher(FailingBlob(DATA, 20 << 20), apart=apart) as hasher:
        with pytest.raises(OSError, match="fire"):
            hasher.finish()
