"""Damaged EROFS images, and such as mean harm."""

import stat
import struct

import pytest

from imgfs.blob import MemoryBlob
from imgfs.erofs import ErofsImage
from imgfs.errors import Corrupt
from tests.erofs import built
from tests.erofs.built import directory, entry, inode, xattrs


def files(data: bytes) -> list[bytes]:
    """The paths in an image made in code, whose content is read, too."""
    blob = MemoryBlob(data)
    image = ErofsImage(blob, "image")
    found = []
    for path, status, _, _ in image.files():
        if stat.S_ISREG(status.st_mode):
            for _, address, length in image.extents(status, path):
                assert len(blob.pread(length, address)) == length
        found.append(path)
    return found


def of_root(*names: tuple[bytes, int]) -> bytes:
    """An image whose root directory has these names; the inode 8 is a file, 16 is a directory."""
    return built.image(
        {
            built.ROOT: inode(0o40755, directory(names)),
            8: inode(0o100600, b"file"),
            16: inode(0o40755, directory([(b"inner", 8)])),
        }
    )


def of_file(file: bytes, **of: int) -> bytes:
    """An image whose root directory has an inode as the file `f`."""
    return built.image({built.ROOT: inode(0o40755, directory([(b"f", 8)])), 8: file}, b"", **of)


def test_an_image_made_in_code_is_sound() -> None:
    assert files(built.sound()) == [b"", b"f", b"h", b"s", b"d", b"d/c", b"d/n"]


HUGE = 1 << 40
DAMAGED = [
    (of_root((b"a/b", 8)), "a name that no file can have"),
    (of_root((b"a\0b", 8), (b"c", 8)), "a name that no file can have"),
    (of_root((b"", 8), (b"c", 8)), "do not follow each other"),
    (of_root((b"b", 8), (b"a", 8)), "'b': its names are not sorted"),
    (of_root((b"a", 8), (b"a", 8)), "not sorted"),
    (of_root((b"a", 1 << 63)), "'a': its inode lies beyond the end"),
    (of_root((b"a", 300)), "'a': its inode lies beyond the end"),
    (of_root((b"a", 60)), "'a': its inode has an unknown type"),
    (of_root((b"a", 0)), "'a': a directory with two names"),
    (of_root((b"a", 16), (b"b", 16)), "'a': a directory with two names"),
    (built.image({built.ROOT: inode(0o100644, b"x")}), "its root: the root is no directory"),
    (built.image({built.ROOT: inode(0o40755, layout=built.FLAT, size=HUGE)}), "beyond the end"),
    (
        built.image({built.ROOT: inode(0o40755, layout=built.FLAT, value=0xFFFFFFFF, size=HUGE)}),
        "its root: a directory with a hole",
    ),
    (built.image({built.ROOT: inode(0o40755, b"x" * 20)}), "does not begin with an entry"),
    (
        of_file(inode(0o100644, layout=built.COMPRESSED, size=9)),
        "'f': it is compressed, which imgfs does not read",
    ),
    (of_file(inode(0o100644, layout=built.FLAT, value=99, size=9)), "'f': its content lies beyond the end"),
    (of_file(inode(0o100644, layout=built.FLAT, value=1, size=HUGE)), "'f': its content lies beyond the end"),
    (of_file(inode(0o100644, layout=built.FLAT, size=-1 % 2**64)), "'f': its inode has a size of"),
    (of_file(inode(0o100644, layout=5)), "'f': its inode has an unknown format"),
    (of_file(inode(0o100644, bytes(300))), "'f': its end lies in two blocks"),
    (of_file(inode(0o100644, layout=built.CHUNKS, size=HUGE)), "'f': metadata lies beyond the end"),
    (
        of_file(inode(0o100644, layout=built.CHUNKS, value=0x80, size=9)),
        "'f': its chunks have an unknown format",
    ),
    (
        of_file(inode(0o100644, struct.pack("<HHI", 0, 1, 0), layout=built.CHUNKS, value=0x20, size=9)),
        None,
    ),
    (
        of_file(
            inode(0o100644, struct.pack("<HHI", 0, 1, 0), layout=built.CHUNKS, value=0x20, size=9),
            features=8,
            devices=1,
            table=15,
        ),
        "'f': its content lies on another device",
    ),
    (of_file(inode(0o120777, layout=built.FLAT, size=5000)), "'f': a symbolic link to a path of 5000 bytes"),
    (
        of_file(inode(0o100644, attributes=xattrs([1, 2])[:-4])),
        "'f': its extended attributes are not complete",
    ),
    (of_file(inode(0o100644, attributes=xattrs([1 << 31]))), "'f': its extended attributes are not complete"),
    (
        of_file(inode(0o100644, attributes=xattrs((), entry(4, b"a", b"x"), entry(4, b"a", b"y")))),
        "'f': it has an extended attribute twice",
    ),
    (of_file(inode(0o100644, attributes=xattrs((), entry(4, b"a\0", b"")))), "a name with a NUL"),
    (of_file(inode(0o100644, attributes=xattrs((), struct.pack("<BBH", 1, 4, 60_000)))), "not complete"),
    (built.image({}, magic=1), "image: no EROFS image"),
    (built.image({}, features=0x100), "features that imgfs does not know .0x100."),
    (built.image({}, bits=30), "blocks of 2.30 bytes"),
    (built.image({}, nanoseconds=1 << 31), "a time of 2147483648 nanoseconds"),
    (built.image({}, features=8, devices=65_535), "image: metadata lies beyond the end"),
    (built.image({}, features=0x40, prefixes=255), "prefixes of its extended attributes are not complete"),
    (built.sound()[:1100], "image: no EROFS image"),
    (of_root((b"a", 8))[:1600], "beyond the end"),
]


@pytest.mark.parametrize(("data", "message"), DAMAGED)
def test_what_cannot_be_is_an_error_that_names_the_file(data: bytes, message: str | None) -> None:
    if message is None:
        assert files(data) == [b"", b"f"]
        return
    with pytest.raises(Corrupt, match=f"^image: .*{message}|^{message}"):
        files(data)


def test_attributes_that_many_names_share_are_counted() -> None:
    attributes = xattrs((), *[entry(0, b"%d" % number, b"") for number in range(300)])
    names = [(b"%02d" % number, 48) for number in range(10)]
    inodes = {built.ROOT: inode(0o40755, directory(names)), 48: inode(0o100644, attributes=attributes)}
    with pytest.raises(Corrupt, match="more metadata than there is room for"):
        files(built.image(inodes))
