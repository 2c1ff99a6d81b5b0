"""Several tars as one: which bytes are shown, and what tar tools make of them."""

import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob import MemoryBlob
from imgfs.tar import JoinedTar, ScannedTar, TarBlob, scan_blob
from tests.tar.archives import BLOCK, ENDING, header, padded, python_tar
from tests.tools import require_tool


class Lazy(MemoryBlob):
    """A blob whose size is unknown until something was read at its end, and that counts what is read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.at_end = False
        self.furthest = 0

    @property
    def known_size(self) -> int | None:
        return super().size if self.at_end else None

    @property
    def size(self) -> int:
        self.at_end = True
        return super().size

    def pread(self, size: int, offset: int) -> bytes:
        data = super().pread(size, offset)
        self.furthest = max(self.furthest, offset + len(data))
        self.at_end |= len(data) < size
        return data

    def try_pread(self, size: int, offset: int) -> bytes:
        return super().pread(size, offset)


def without_ending(data: bytes) -> bytes:
    *_, last = scan_blob(MemoryBlob(data))
    return data[: last.data_offset + len(padded(bytes(last.stored_size)))]


def joined(layers: list[bytes], blob: Callable[[bytes], MemoryBlob] = MemoryBlob) -> JoinedTar:
    return JoinedTar([ScannedTar(blob(layer)) for layer in layers])


def layer(name: str, ending: int) -> bytes:
    """A tar of two files, one of zeros and one whose data looks like an ending and more, and `ending` zeros."""
    files = {f"{name}/zeros": bytes(3 * BLOCK), f"{name}/tar": python_tar({"inner": b"x" * 600})}
    return without_ending(python_tar(files)) + bytes(ending)


def names(lister: str, path: Path) -> list[str]:
    if lister == "python":
        with tarfile.open(path) as archive:
            return archive.getnames()
    if lister == "7z":
        listed = subprocess.run(
            [require_tool("7z"), "l", "-ba", "-slt", "-ttar", path],
            capture_output=True,
            check=True,
            text=True,
        )
        return [line[7:] for line in listed.stdout.splitlines() if line.startswith("Path = ")]
    command = {"gnu": ["tar"], "bsdtar": ["bsdtar"], "busybox": ["busybox", "tar"]}[lister]
    require_tool(command[0])
    done = subprocess.run([*command, "-tf", path], capture_output=True, check=True, text=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


ENDINGS = [512, 1024, 1536, 10_240, 32_768, 33_280, 66_048, 100_352]


@pytest.mark.parametrize("lister", ["gnu", "bsdtar", "busybox", "7z", "python"])
def test_tar_tools_list_every_member_whatever_the_length_of_the_endings(tmp_path: Path, lister: str) -> None:
    layers = [layer(f"layer-{ending}", ending) for ending in [*ENDINGS, 0, 1024]]
    path = tmp_path / "joined.tar"
    path.write_bytes(joined(layers).pread(1 << 30, 0))
    expected = [f"layer-{ending}/{name}" for ending in [*ENDINGS, 0, 1024] for name in ("zeros", "tar")]
    assert names(lister, path) == expected


@pytest.mark.parametrize("lister", ["gnu", "bsdtar", "busybox", "7z", "python"])
@pytest.mark.parametrize("last", [None, 1024, 700])
def test_tar_tools_read_on_behind_a_layer_that_ends_inside_of_a_block(
    tmp_path: Path, lister: str, last: int | None
) -> None:
    """Engines take such layers: cut within the padding of their last member."""
    if lister == "7z" and last is None:
        last = 1024  # it wants an ending
    cut = without_ending(python_tar({"cut": b"x" * 600}))[: 512 + 600]
    layers = [cut, layer("one", 700), cut, layer("two", 512), cut if last is None else layer("last", last)]
    path = tmp_path / "joined.tar"
    data = joined(layers).pread(1 << 30, 0)
    path.write_bytes(data)
    assert len(data) % BLOCK == 0
    found = names(lister, path)
    assert found[:6] == ["cut", "one/zeros", "one/tar", "cut", "two/zeros", "two/tar"]
    assert found[6:] == (["cut"] if last is None else ["last/zeros", "last/tar"])


@pytest.mark.parametrize("lister", ["gnu", "bsdtar", "busybox", "7z", "python"])
def test_without_joining_they_stop_after_the_first_layer(tmp_path: Path, lister: str) -> None:
    """Which is why it is done; and the test above can fail."""
    path = tmp_path / "plain.tar"
    path.write_bytes(b"".join(layer(f"layer-{n}", 10_240) for n in range(3)))
    assert names(lister, path) == ["layer-0/zeros", "layer-0/tar"]


def test_nothing_but_endings_differs_from_the_plain_bytes() -> None:
    layers = [layer(f"layer-{ending}", ending) for ending in [*ENDINGS, 1024]]
    plain = b"".join(layers)
    shown = joined(layers).pread(1 << 30, 0)
    assert len(shown) == len(plain)
    start = 0
    for data, ending in zip(layers, ENDINGS, strict=False):
        inner = len(data) - ending
        assert shown[start : start + inner] == data[:inner]
        fill = shown[start + inner : start + len(data)]
        assert {fill[place : place + 10] for place in range(0, len(fill), 32 << 10)} == {b"pax_global"}
        start += len(data)
    assert shown[start:] == layers[-1], "the last layer keeps its ending"


@given(
    st.lists(st.sampled_from([0, 100, 512, 1000, 1024, 5120, 40_000, 70_000]), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 250_000)), min_size=1, max_size=20),
    st.sampled_from([MemoryBlob, Lazy]),
)
@settings(max_examples=200, deadline=None)
def test_any_range_is_that_of_the_whole(
    endings: list[int], ranges: list[tuple[int, int]], blob: Callable[[bytes], MemoryBlob]
) -> None:
    """At any offset, whatever the length of the endings, also those that are no whole number of blocks."""
    layers = [layer(f"{number}", ending) for number, ending in enumerate(endings)]
    whole = joined(layers).pread(1 << 30, 0)
    assert len(whole) == sum(len(padded(layer)) for layer in layers)
    tar = joined(layers, blob)
    for size, offset in ranges:
        place = offset % (len(whole) + 10)
        tried = tar.try_pread(size, place)
        assert tried in (None, whole[place : place + size])
        assert tar.pread(size, place) == whole[place : place + size]
        assert tar.known_size in (None, len(whole))
    assert tar.size == len(whole)


def test_zeros_of_a_file_are_never_taken_for_an_ending() -> None:
    data = header(b"zeros", size=50_000) + bytes(len(padded(bytes(50_000)))) + ENDING
    tar = ScannedTar(MemoryBlob(data))
    assert tar.ending_before(len(data) - 1024) is None
    assert tar.ending_before(len(data)) == len(data) - 1024
    shown = joined([data, layer("next", 1024)])
    for place in range(512, 50_000, 700):
        assert shown.pread(512, place) == bytes(512)


@pytest.mark.parametrize("known", [True, False])
def test_reading_the_beginning_reads_no_further_than_it_must(known: bool) -> None:
    big = python_tar({str(number): random.Random(number).randbytes(500_000) for number in range(10)})
    first, second = Lazy(big), Lazy(big)
    tar = JoinedTar([ScannedTar(first), ScannedTar(second)])
    assert tar.pread(100_000, 0) == big[:100_000]
    assert first.furthest < 600_000
    assert second.furthest == 0
    if known:
        assert first.size == len(big)
    assert tar.pread(BLOCK, 4_000_000) == big[4_000_000 : 4_000_000 + BLOCK]
    assert second.furthest == 0


def test_what_is_no_tar_is_shown_as_it_is() -> None:
    broken = random.Random(1).randbytes(5000)
    cut = layer("cut", 1024)[:2000]
    shown = joined([broken, cut, layer("last", 1024)])
    assert shown.pread(1 << 20, 0) == padded(broken) + padded(cut) + layer("last", 1024)


def test_garbage_after_an_ending_does_not_show() -> None:
    data = layer("first", 1024) + b"garbage!" * 640
    shown = joined([data, layer("second", 1024)]).pread(1 << 20, 0)
    assert b"garbage!" not in shown
    assert len(shown) == len(data) + len(layer("second", 1024))


def test_no_layers_and_empty_layers_are_nothing() -> None:
    assert JoinedTar([]).pread(100, 0) == b""
    assert joined([b"", b"", layer("a", 512), b""]).pread(1 << 20, 0)[:10] == b"a/zeros\0\0\0"


def test_closing_closes_the_layers() -> None:
    closed = []

    class Closing(ScannedTar):
        def close(self) -> None:
            closed.append(self)

    layers: list[TarBlob] = [Closing(MemoryBlob(b"")) for _ in range(3)]
    JoinedTar(layers).close()
    assert closed == layers
