"""Where a tar's end-of-archive region begins; more is in test_joined."""

import pytest

from imgfs.tar import ScannedTar
from tests.blob.blobs import Shy
from tests.images import layer_tar

TAR = layer_tar({"zeros": bytes(3000), "file": b"data"})
ENDING = 512 + 3072 + 512 + 512


def test_the_ending_is_found_behind_zeros_of_files() -> None:
    tar = ScannedTar(Shy(TAR))
    assert not tar.knows_ending_before(len(TAR))
    assert tar.ending_before(ENDING) is None
    assert tar.ending_before(ENDING + 1) == ENDING
    assert tar.knows_ending_before(1 << 60)


def test_no_more_is_read_than_it_takes() -> None:
    """Headers, and not the data between them."""
    blob = Shy(layer_tar({"large": bytes(9 << 20), "file": b""}))
    tar = ScannedTar(blob)
    assert tar.ending_before(512) is None
    assert blob.reads == 1
    assert tar.ending_before(9 << 20) is None
    assert blob.reads == 2


@pytest.mark.parametrize("data", [b"", TAR[:600], TAR[:ENDING], b"no tar" * 200])
def test_a_damaged_tar_has_no_ending(data: bytes) -> None:
    tar = ScannedTar(Shy(data))
    assert tar.ending_before(1 << 60) is None
    assert tar.pread(len(data) + 1, 0) == data


def test_it_is_the_bytes_of_its_blob_and_closes_it() -> None:
    blob = Shy(TAR, known=False)
    with ScannedTar(blob) as tar:
        assert (tar.known_size, tar.size, tar.known_size) == (None, len(TAR), len(TAR))
        assert (tar.pread(9, 3), tar.try_pread(9, 3)) == (TAR[3:12], TAR[3:12])
    assert blob.closed == 1
