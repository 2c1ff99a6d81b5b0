"""Every way in which the kernel lets programs read a file, of every kind of file that a mount has."""

import errno
import mmap
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.conftest import Mount
from tests.images import TestImage, layer_tar, oci_layout
from tests.tar.archives import extended, header, padded, record
from tests.tools import require_tool

SIZE = (2 << 20) + 777
CONTENT = bytes(range(256)) * (SIZE // 256) + bytes(SIZE % 256)


def plain(file: BinaryIO, size: int) -> bytes:
    return file.read()


def past_the_cache(file: BinaryIO, size: int) -> bytes:
    """By O_DIRECT, which takes whole blocks into memory that begins at one."""
    fd = os.open(file.name, os.O_RDONLY | os.O_DIRECT)
    data = b""
    try:
        with mmap.mmap(-1, 1 << 20) as buffer:
            while count := os.preadv(fd, [buffer], len(data)):
                data += buffer[:count]
        return data
    finally:
        os.close(fd)


def mapped(file: BinaryIO, size: int) -> bytes:
    """By mmap, the second half first."""
    with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as memory:
        half = size // 2
        second = memory[half:]
        return memory[:half] + second


def privately_mapped(file: BinaryIO, size: int) -> bytes:
    """By mmap with writes that nothing but the process sees."""
    with mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as memory:
        memory[0] ^= 255
        memory[0] ^= 255
        return bytes(memory)


def sent(file: BinaryIO, size: int) -> bytes:
    """By sendfile to a socket."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        with ours:
            offset = 0
            while count := os.sendfile(ours.fileno(), file.fileno(), offset, 1 << 20):
                offset += count

    with ThreadPoolExecutor(1) as pool, theirs, theirs.makefile("rb") as stream:
        sending = pool.submit(send)
        data = stream.read()
        sending.result()
    return data


def spliced(file: BinaryIO, size: int) -> bytes:
    """By splice to a pipe."""
    reading, writing = os.pipe()

    def splice() -> None:
        with open(writing, "wb") as end:
            while os.splice(file.fileno(), end.fileno(), 1 << 16):
                pass

    with ThreadPoolExecutor(1) as pool, open(reading, "rb") as stream:
        splicing = pool.submit(splice)
        data = stream.read()
        splicing.result()
    return data


def backwards(file: BinaryIO, size: int) -> bytes:
    """By small reads from the end to the start."""
    starts = range(0, size, 50_001)
    return b"".join([os.pread(file.fileno(), 50_001, start) for start in reversed(starts)][::-1])


WAYS: list[Callable[[BinaryIO, int], bytes]] = [
    *(plain, past_the_cache, mapped, privately_mapped, sent, spliced, backwards)
]


@pytest.fixture(params=["none", "gzip"])
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[TestImage, Path]:
    """An image of two layers, and the layout that it is stored in, with this compression."""
    image = TestImage(
        [layer_tar({"big": CONTENT, "small": b"small"}), layer_tar({"upper": CONTENT[::-1]})], ["x:1"]
    )
    return image, oci_layout(tmp_path / "layout", [image], request.param)


def everything(top: Path, image: TestImage) -> Iterator[tuple[Path, bytes]]:
    folder = top / "images" / image.id[7:]
    yield folder / "rootfs/big", CONTENT
    yield folder / "rootfs/small", b"small"
    yield folder / "rootfs/upper", CONTENT[::-1]
    yield folder / "rootfs.tar", image.verbatim
    (tar_,) = (folder / "layers").glob("01-*.tar")
    yield tar_, image.layers[1]
    yield folder / "flat.tar", (folder / "flat.tar").read_bytes()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_reading_gives_the_same_bytes(
    mount: Mount, layout: tuple[TestImage, Path], way: Callable[[BinaryIO, int], bytes]
) -> None:
    """Of files that no program has read before in this mount."""
    image, path = layout
    with mount(path, options="tar=verbatim") as top:
        for name, content in everything(top, image):
            with open(name, "rb", buffering=0) as file:
                assert way(file, os.fstat(file.fileno()).st_size) == content, name


@pytest.mark.parametrize("layout", ["gzip"], indirect=True)
def test_so_does_the_kernel(mount: Mount, layout: tuple[TestImage, Path]) -> None:
    """In any way but past its cache, which its EROFS refuses for images that are files."""
    image, path = layout
    ways = [way for way in WAYS if way is not past_the_cache]
    with mount(path, options="tar=verbatim,kernel") as top:
        files = list(everything(top, image))[:3]
        for way, (name, content) in product(ways, files):
            with open(name, "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                assert way(file, os.fstat(file.fileno()).st_size) == content, (way, name)


NAMES = [b"user.plain", b"user.not utf-8 \xff\xfe", b"user.new\nline", b'user.quo"te', b"user." + b"n" * 250]


@pytest.mark.parametrize("options", ["", "kernel"])
def test_attributes_of_unusual_names_are_listed_and_copied(
    mount: Mount, tmp_path: Path, options: str
) -> None:
    """By getfattr, by GNU tar, and by the system calls."""
    values = {name: b"value \0 %d" % number for number, name in enumerate(NAMES)}
    records = {b"SCHILY.xattr." + name: value for name, value in values.items()}
    layer = extended(b"x", records) + header(b"file", size=4) + padded(b"text") + bytes(1024)
    image = TestImage([layer], ["x:1"])
    with mount(oci_layout(tmp_path / "layout", [image]), options=options) as top:
        file = top / "images" / image.id[7:] / "rootfs/file"
        assert {os.fsencode(name): os.getxattr(file, name) for name in os.listxattr(file)} == values
        with pytest.raises(OSError) as caught:
            os.getxattr(file, b"user.absent")
        assert caught.value.errno == errno.ENODATA
        dumped = _output("getfattr", "-d", "-e", "hex", "--absolute-names", file)
        assert dumped.count(b"=0x") == len(NAMES)
        assert b"user.plain=0x" + values[b"user.plain"].hex().encode() in dumped
        archived = _output("tar", "--xattrs", "-c", "-C", file.parent, "file")
        for name, value in values.items():
            assert record(b"SCHILY.xattr." + name, value) in archived
        flat = (file.parent.parent / "flat.tar").read_bytes()
        for name, value in values.items():
            assert record(b"SCHILY.xattr." + name, value) in flat


def _output(tool: str, *arguments: object) -> bytes:
    command = [require_tool(tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True).stdout
