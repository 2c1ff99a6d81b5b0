"""The content of a layer, which all of its readers share from the first one to the last."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.blob import FileBlob
from imgfs.cache import Cache
from imgfs.errors import Corrupt, ImgfsError
from imgfs.layers import BlobLayer, Indexer
from imgfs.layers.content import LayerState
from imgfs.sources import open_source
from imgfs.tar import TarBlob
from imgfs.view.tars import open_rootfs_tar
from tests.codec.failing import FailingBlob
from tests.conftest import eventually
from tests.images import TestImage, layer_tar, oci_layout
from tests.indexing import indexing
from tests.layers.stored_layers import ENCODERS, big_tar, index_of, layer_of, stored_layer

DATA = big_tar(3_000_000)
COMPRESSED = [name for name in ENCODERS if name != "plain"]


def descriptors(folder: Path) -> list[str]:
    """What the open descriptors of this process lead to in a folder, but for that of the cache."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            continue  # the one that lists them
    return sorted(path for path in found if path.startswith(str(folder)) and not path.endswith("/cache/1"))


def replace_with_nonsense(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"nonsense" * 1000)


def replace_with_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("lose", [Path.unlink, replace_with_nonsense, replace_with_folder])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_what_is_open_stays_readable_whatever_happens_to_its_path(
    tmp_path: Path, encoder: str, lose: Callable[[Path], None]
) -> None:
    path = tmp_path / "layer"
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, path, DATA, encoder)
        with layer.open() as tar:
            lose(path)
            assert tar.pread(1000, 2_000_000) == DATA[2_000_000:2_001_000]
            assert tar.size == len(DATA)
            ending = tar.ending_before(len(DATA))
            assert ending is not None
            assert DATA[ending:] == bytes(len(DATA) - ending)
            assert layer.known_size == len(DATA)
            if lose is not replace_with_nonsense:  # which is the layer now, and a bad one
                assert len(layer.members()) == 12
        if lose is not replace_with_nonsense:
            # a pass that is still running reads what was open, and so do those who come meanwhile
            assert eventually(lambda: not any("layer" in path for path in descriptors(tmp_path)))
            with pytest.raises((ImgfsError, OSError)):
                layer.open()


@pytest.mark.parametrize("encoder", COMPRESSED)
def test_a_copy_is_made_again_from_what_is_open(tmp_path: Path, encoder: str) -> None:
    data = big_tar(12_000_000)
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", data, encoder)
        with layer.open() as tar:
            assert tar.pread(len(data), 0) == data
            (tmp_path / "layer").unlink()
            Cache(str(tmp_path / "cache"), 0).prune()
            for offset in range(0, len(data), 100_000):
                assert tar.pread(5000, offset) == data[offset : offset + 5000]


def test_streams_of_an_image_stay_readable_when_its_blobs_are_gone(tmp_path: Path) -> None:
    image = TestImage([layer_tar({f"file-{n}": os.urandom(100_000)}) for n in range(2)], ["image:1"])
    layout = oci_layout(tmp_path / "layout", [image])
    with indexing(tmp_path) as indexer, closing(open_source(str(layout), indexer)) as source:
        with (
            source.store.get_tar_seek_stream(image.id) as stream,
            open_rootfs_tar(source.store, image.id, verbatim=True) as verbatim,
            open_rootfs_tar(source.store, image.id, verbatim=False) as joined,
        ):
            for blob in (layout / "blobs/sha256").iterdir():
                blob.unlink()
            assert stream.read() == image.verbatim
            assert verbatim.pread(len(image.verbatim), 0) == image.verbatim
            assert joined.size == len(image.verbatim)
            assert joined.pread(1000, 110_000) == image.verbatim[110_000:111_000]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_readers_share_one_descriptor_and_the_last_one_closes_it(tmp_path: Path, encoder: str) -> None:
    path = tmp_path / "layer"
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, path, DATA, encoder)
        before = descriptors(tmp_path)
        tars = [layer.open() for _ in range(3)]
        for tar in tars:
            assert tar.pread(1000, 1_000_000) == DATA[1_000_000:1_001_000]
        assert descriptors(tmp_path).count(str(path)) == 1
        assert tars[0].size == len(DATA)
        for tar in tars:
            tar.close()
        assert eventually(lambda: descriptors(tmp_path) == before)


def test_readers_in_many_threads_leave_no_descriptor(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", DATA)
        before = descriptors(tmp_path)

        def read(number: int) -> bool:
            offset = number * 10_000
            with layer.open() as tar:
                return tar.pread(5000, offset) == DATA[offset : offset + 5000]

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(200)))
        assert eventually(lambda: descriptors(tmp_path) == before)


def test_states_follow_each_other(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        layer = layer_of(indexer, ENCODERS["gzip"](DATA), DATA)
        with layer.content() as content:
            assert (content.state, content.size) == (LayerState.UNREAD, None)
            build = content.follow()
            assert build is not None
            assert content.state in (LayerState.INDEXING, LayerState.INDEXED)
            build.wait()
            assert (content.state, content.size) == (LayerState.INDEXED, len(DATA))
        with layer.content() as content:
            assert content.state is LayerState.INDEXED
        bad = layer_of(indexer, ENCODERS["gzip"](DATA)[:-9], DATA)
        with bad.content() as content:
            with pytest.raises(Corrupt):
                content.wait_for_index()
            assert content.state is LayerState.FAILED
            with pytest.raises(Corrupt):
                bad.open()


def test_a_layer_that_could_not_be_read_is_unread_again(tmp_path: Path) -> None:
    stored = ENCODERS["gzip"](DATA)
    blob = FailingBlob(stored, 1000)
    with indexing(tmp_path) as indexer, layer_of(indexer, stored, DATA, lambda: blob).content() as content:
        with pytest.raises(ImgfsError, match="fire"):
            content.wait_for_index()
        assert content.state is LayerState.UNREAD
        blob.failing = False
        assert content.wait_for_index().header.size == len(DATA)


def test_what_could_not_be_read_is_opened_again_by_the_next_reader(tmp_path: Path) -> None:
    """Its device may have come back, of which what was opened before knows nothing."""
    stored = ENCODERS["gzip"](DATA)
    blobs = [FailingBlob(stored, 1000), FailingBlob(stored, 1 << 40)]

    def open_blob() -> FailingBlob:
        return blobs.pop(0) if len(blobs) > 1 else blobs[0]

    with indexing(tmp_path) as indexer:
        layer = layer_of(indexer, stored, DATA, open_blob)
        with layer.open() as first:
            with pytest.raises(ImgfsError, match="fire"):
                first.pread(10, len(DATA) // 2)
            with layer.open() as second:
                assert second.pread(10, len(DATA) // 2) == DATA[len(DATA) // 2 :][:10]


def test_a_reader_that_comes_after_the_file_was_replaced_reads_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "layer"
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, path, DATA, "zstd frames")
        sound = path.read_bytes()
        path.write_bytes(sound[:-1000] + bytes(1000))
        with layer.open() as old:
            with pytest.raises(Corrupt):
                _ = old.size
            path.unlink()
            path.write_bytes(sound)
            assert read(layer) == DATA
            with pytest.raises(Corrupt):
                _ = old.size


def read(layer: BlobLayer) -> bytes:
    with layer.open() as tar:
        return tar.pread(len(DATA), 0)


def test_what_was_found_wrong_is_remembered_until_the_source_changes(tmp_path: Path) -> None:
    stored = ENCODERS["gzip"](DATA)
    blobs = [stored[:-8] + bytes(8)]

    def failing_open(indexer: Indexer) -> TarBlob:
        return layer_of(indexer, stored, DATA, open_blob).open()

    def open_blob() -> FailingBlob:
        return FailingBlob(blobs[0], 1 << 40)

    with indexing(tmp_path) as indexer:
        layer = layer_of(indexer, stored, DATA, open_blob)
        with pytest.raises(Corrupt):
            index_of(layer)
        blobs[0] = stored
        with pytest.raises(Corrupt):
            failing_open(indexer)
        indexer.forget()
        with failing_open(indexer) as tar:
            assert tar.pread(len(DATA), 0) == DATA


def test_a_size_that_was_not_found_is_looked_for_again_when_the_source_changes(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer, indexing(tmp_path) as other:
        layer = stored_layer(indexer, tmp_path / "layer", DATA)
        assert layer.look_for_size() is None
        index_of(stored_layer(other, tmp_path / "layer", DATA))
        assert layer.look_for_size() is None, "remembered"
        indexer.forget()
        assert layer.look_for_size() == len(DATA)


def test_a_layer_of_a_file_is_the_same_wherever_it_lies_in_a_stack(tmp_path: Path) -> None:
    """Two images may have one blob in different places; it is decoded once."""
    path = tmp_path / "layer"
    path.write_bytes(ENCODERS["gzip"](DATA))
    with indexing(tmp_path) as indexer:
        layers = [layer_of(indexer, path.read_bytes(), DATA, lambda: FileBlob(path)) for _ in range(2)]
        with layers[0].content() as first, layers[1].content() as second:
            assert first is second
