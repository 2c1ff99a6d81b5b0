"""Layers that are kept more than once, some copies of which are missing or damaged."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgfs.errors import Corrupt
from imgfs.layers import Indexer, Layer, LayerChoice, copies_of, verified_first
from tests.images import layer_tar
from tests.indexing import indexing
from tests.layers.stored_layers import ENCODERS, index_of, stored_layer

TAR = layer_tar({"file": b"content" * 10_000, "other": bytes(100_000)})


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with indexing(tmp_path) as made:
        yield made


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a bit flipped": lambda path: path.write_bytes(_flip(path.read_bytes())),
    "something else": lambda path: path.write_bytes(b"nonsense" * 1000),
    "another tar": lambda path: path.write_bytes(layer_tar({"file": b"not the content"})),
    "a folder": _make_folder,
}


def _choice(*copies: Layer) -> LayerChoice:
    first, *others = map(verified_first, copies)
    return LayerChoice(first, lambda: others)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("encoder", ["plain", "gzip", "zstd frames", "zstd frame"])
@pytest.mark.parametrize("digest_known", [True, False])
def test_the_copy_that_is_sound_is_read(
    tmp_path: Path,
    indexer: Indexer,
    caplog: pytest.LogCaptureFixture,
    damage: str,
    encoder: str,
    digest_known: bool,
) -> None:
    bad = stored_layer(indexer, tmp_path / "bad", TAR, encoder, digest_known=digest_known)
    good = stored_layer(indexer, tmp_path / "good", TAR, "gzip" if encoder == "plain" else "plain")
    DAMAGE[damage](tmp_path / "bad")
    choice = _choice(bad, good)
    with choice.open() as tar:
        assert tar.pread(len(TAR), 0) == TAR
        assert tar.ending_before(len(TAR)) is not None
        assert tar.size == len(TAR)
    tree = choice.tree()
    assert tree.names(tree.children(0)) == [b"file", b"other"]
    with choice.open_content() as blob:
        assert blob.pread(7, tree.records[1] + tree.headers[1]) == b"content"
    with choice.open() as tar:
        assert tar.pread(100, 600) == TAR[600:700]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([line for line in warnings if "another copy" in line]) == 1


def test_the_first_error_is_raised_where_no_copy_can_be_read(tmp_path: Path, indexer: Indexer) -> None:
    layers = [stored_layer(indexer, tmp_path / name, TAR, "zstd frame") for name in ("one", "two")]
    (tmp_path / "one").write_bytes(b"nonsense")
    (tmp_path / "two").unlink()
    choice = _choice(*layers)
    for _ in range(2):
        with pytest.raises(Corrupt, match="neither a tar"):
            choice.open()
    (tmp_path / "two").write_bytes(ENCODERS["zstd frame"](TAR))
    with choice.open() as tar:
        assert tar.pread(100, 0) == TAR[:100]


def test_a_reader_goes_on_when_its_copy_turns_out_damaged(tmp_path: Path, indexer: Indexer) -> None:
    """Bytes that were read before stay as they were; the reader is not opened again."""
    first = stored_layer(indexer, tmp_path / "bad", TAR, "gzip")
    second = stored_layer(indexer, tmp_path / "good", TAR, "zstd frames")
    with _choice(first, second).open() as tar:
        stored = (tmp_path / "bad").read_bytes()
        (tmp_path / "bad").write_bytes(stored[:-4] + b"\1\1\1\1")
        assert b"".join(tar.pread(5000, at) for at in range(0, len(TAR), 5000)) == TAR


def test_the_same_blob_in_another_place_is_not_taken_for_damaged(tmp_path: Path, indexer: Indexer) -> None:
    layers = [stored_layer(indexer, tmp_path / name, TAR, "gzip") for name in ("bad", "good")]
    (tmp_path / "bad").write_bytes(_flip((tmp_path / "good").read_bytes()))
    with pytest.raises(Corrupt):
        index_of(layers[0])
    with layers[1].open() as tar:
        assert tar.pread(len(TAR), 0) == TAR


def test_another_copy_is_not_believed_in_place(tmp_path: Path, indexer: Indexer) -> None:
    """A plain tar for which no digest is recorded; it might be anything, and looks like a layer."""
    missing = stored_layer(indexer, tmp_path / "missing", TAR, "gzip")
    (tmp_path / "missing").unlink()
    foreign = stored_layer(indexer, tmp_path / "foreign", TAR, "plain", digest_known=False)
    (tmp_path / "foreign").write_bytes(layer_tar({"file": b"foreign" * 10_000, "other": bytes(100_000)}))
    choice = _choice(missing, foreign)
    with choice.open() as tar:
        assert tar.try_pread(100, 0) is None
        with pytest.raises(Corrupt, match="failed to verify"):
            tar.pread(100, 0)
    with pytest.raises(Corrupt, match="failed to verify"):
        choice.tree()


def test_copies_are_those_of_choices_in_choices(tmp_path: Path, indexer: Indexer) -> None:
    layers = [stored_layer(indexer, tmp_path / name, TAR) for name in "abc"]
    inner = LayerChoice(layers[0], lambda: [layers[1]])
    assert copies_of(LayerChoice(inner, lambda: [layers[2]])) == layers
    assert copies_of(layers[0]) == layers[:1]
