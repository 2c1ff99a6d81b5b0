"""Copying piece by piece, and what images are copied as: the manifests that their own names lead to."""

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from imgfs.blob import Folder
from imgfs.digest import Digest
from imgfs.errors import Corrupt, StoreError
from imgfs.layers.progress import no_progress
from imgfs.saving.copying import Destination, copy_pieces
from imgfs.saving.layout_directory import LayoutDirectory
from imgfs.saving.oci_layout import with_image
from imgfs.saving.piece import Kind, Piece, document_piece
from tests.conftest import Imgfs
from tests.images import TestImage, digest, layer_tar, oci_layout
from tests.sources.containerd.roots import Root


class Memory(Destination):
    """Keeps pieces in memory, `workers` of which are written at a time."""

    workers = 3

    def __init__(self, there: Piece | None = None, broken: Piece | None = None) -> None:
        self.written: list[bytes] = []
        self.finished: list[Digest] = []
        self.running = self.most = 0
        self.stopped = 0
        self._there = there
        self._broken = broken
        self._lock = threading.Lock()

    def has(self, piece: Piece) -> bool:
        return piece is self._there

    def put(self, piece: Piece, advance: Callable[[int], None]) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            time.sleep(0.02)
            if piece is self._broken:
                raise StoreError("broken")
            for _ in range(500) if self._broken else ():
                time.sleep(0.02)
                advance(1)
            with self._lock:
                self.written.append(b"".join(piece.chunks()))
        except StoreError:
            raise
        except BaseException:
            self.stopped += 1
            raise
        finally:
            with self._lock:
                self.running -= 1

    def finish(self, top: Piece) -> None:
        assert not self.running
        self.finished.append(top.digest)


def show(piece: Piece, *, is_there: bool) -> None:
    """Show nothing."""


def pieces(count: int) -> list[Piece]:
    return [document_piece(Kind.BLOB, "a/b", b"%d" % number) for number in range(count)]


def test_some_pieces_are_written_at_once_each_once_and_the_last_at_the_end() -> None:
    layers, manifest = pieces(8), document_piece(Kind.MANIFEST, "m", b"m")
    top = document_piece(Kind.INDEX, "i", b"i")
    destination = Memory(there=layers[3])
    assert copy_pieces([*layers, layers[0], manifest, top], destination, no_progress, show) is top
    assert sorted(destination.written[:-1]) == [b"%d" % number for number in range(8) if number != 3]
    assert destination.written[-1] == b"m"  # after what it names
    assert destination.finished == [top.digest]
    assert destination.most == 3


def test_what_fails_ends_the_others_soon() -> None:
    layers = pieces(8)
    destination = Memory(broken=layers[1])
    start = time.monotonic()
    with pytest.raises(StoreError, match="broken"):
        copy_pieces([*layers, document_piece(Kind.MANIFEST, "m", b"m")], destination, no_progress, show)
    assert time.monotonic() - start < 5  # of 10 s that each takes
    assert destination.stopped >= 1
    assert not destination.finished
    assert not destination.running


def test_bytes_of_another_digest_are_an_error() -> None:
    wrong = document_piece(Kind.BLOB, "a/b", b"wrong", Digest(digest(b"right")))
    with pytest.raises(Corrupt, match=f"blob {digest(b'right')}: failed to verify, its 5 bytes are"):
        b"".join(wrong.chunks())


def test_bytes_of_another_size_than_a_manifest_says_are_an_error() -> None:
    said = replace(document_piece(Kind.BLOB, "a/b", b"right"), size=4)
    with pytest.raises(Corrupt, match="5 bytes where 4 were expected"):
        b"".join(said.chunks())


def test_what_an_index_says_besides_is_kept() -> None:
    top = document_piece(Kind.MANIFEST, "m", b"m")
    key = "org.opencontainers.image.ref.name"
    odd = [7, {"digest": "x", "annotations": {key: "1", "more": "z"}, "platform": {"os": "linux"}}]
    found = with_image({"manifests": [*odd, top.descriptor], "annotations": {"a": "b"}}, top, "1")
    assert found == {
        "manifests": [
            7,
            {"digest": "x", "annotations": {"more": "z"}, "platform": {"os": "linux"}},
            top.descriptor | {"annotations": {key: "1"}},
        ],
        "annotations": {"a": "b"},
    }


def test_a_layout_is_changed_by_one_copy_at_a_time(tmp_path: Path) -> None:
    def folder() -> Folder:
        return Folder(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY), str(tmp_path))

    manifest = document_piece(Kind.MANIFEST, "m", b"{}")
    with folder() as other, folder() as mine, LayoutDirectory(mine, "1") as layout:
        fcntl.flock(other.fileno(), fcntl.LOCK_EX)
        finishing = threading.Thread(target=layout.finish, args=(manifest,))
        finishing.start()
        finishing.join(0.2)
        assert not (tmp_path / "index.json").exists()
        fcntl.flock(other.fileno(), fcntl.LOCK_UN)
        finishing.join()
    assert sorted(os.listdir(tmp_path)) == ["blobs", "index.json", "oci-layout"]


@pytest.fixture
def image() -> TestImage:
    return TestImage([layer_tar({"one": b"one" * 9000}), layer_tar({"two": b"two" * 9000})], ["t"])


@pytest.fixture
def containerd(tmp_path: Path, image: TestImage) -> Root:
    """A root with one image twice: `gzip:1` and `zstd:1`, of equal ID, have manifests of their own."""
    root = Root(tmp_path / "root", image)
    other = oci_layout(tmp_path / "other", [image], "zstd")
    for blob in (other / "blobs/sha256").iterdir():
        (root.content / "blobs/sha256" / blob.name).write_bytes(blob.read_bytes())
    (zstd,) = json.loads((other / "index.json").read_text())["manifests"]
    root.manifests.append(zstd["digest"])
    root.name({"default": {"gzip:1": root.manifests[0], "zstd:1": root.manifests[1]}})
    return root


def test_the_manifest_is_that_of_the_name(imgfs: Imgfs, tmp_path: Path, containerd: Root) -> None:
    digests = dict(zip(("gzip:1", "zstd:1"), containerd.manifests, strict=True))
    named = {name: name for name in digests} | {f"gzip@{digests['zstd:1']}": "zstd:1"}
    for number, (term, name) in enumerate(named.items()):
        out = tmp_path / f"out{number}"
        imgfs("copy", f"containerd:[{containerd.path}]{term}", f"oci:{out}")
        (entry,) = json.loads((out / "index.json").read_text())["manifests"]
        assert entry["digest"] == digests[name]


def test_an_image_whose_blobs_are_not_all_stored_is_made(
    imgfs: Imgfs, tmp_path: Path, containerd: Root, image: TestImage
) -> None:
    manifest = json.loads((containerd.content / "blobs/sha256" / containerd.manifests[0][7:]).read_text())
    (containerd.content / "blobs/sha256" / manifest["layers"][0]["digest"][7:]).unlink()
    done = imgfs("copy", f"containerd:[{containerd.path}]gzip:1", f"oci:{tmp_path / 'out'}:made")
    assert b"the manifest is made again" in done.stderr
    assert imgfs("export", "--tar", "verbatim", f"oci:{tmp_path / 'out'}:made").stdout == image.verbatim
