"""Lines of a bodyfile, as its readers take them apart."""

import stat

import pytest

from imgfs.rootfs import Stat
from imgfs.rootfs.bodyfile import bodyfile_line


def _file(mode: int, size: int = 0, mtime_ns: int = 0, target: str = "") -> Stat:
    return Stat(7, mode, 1, 10, 20, size, mtime_ns, target)


def test_a_line_has_what_fls_writes() -> None:
    line = bodyfile_line("/a b", _file(stat.S_IFREG | 0o4755, 5, 1_999_999_999), 7, "layer 02: COPY")
    assert line == "0|/a b (layer 02: COPY)|7|r/rrwsr-xr-x|10|20|5|0|1|0|0\n"
    line = bodyfile_line("/d", _file(stat.S_IFDIR | 0o1777, 4096), 1, "", is_deleted=True)
    assert line == "0|/d (deleted)|1|d/drwxrwxrwt|10|20|0|0|0|0|0\n"
    line = bodyfile_line("/l", _file(stat.S_IFLNK | 0o777, target="a -> ü"), 1, "note", is_deleted=True)
    assert line == "0|/l (note) -> a -> ü (deleted)|1|l/lrwxrwxrwx|10|20|7|0|0|0|0\n"
    kinds = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}
    for kind, letter in kinds.items():
        assert f"|{letter}/{letter}rw-------|" in bodyfile_line("/x", _file(kind | 0o600), 1, "")


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("/a|b", r"/a\x7cb"),
        ("/a\nb\r\t\x7f\x85", r"/a\x0ab\x0d\x09\x7f\x85"),
        ("/not utf-8 \udcff", r"/not utf-8 \xff"),
        (r"/a\b", r"/a\\b"),
        ("/100%41 100%", r"/100\x2541 100%"),
        ("/ünï", "/ünï"),
    ],
)
def test_a_name_is_one_field_of_one_line(name: str, quoted: str) -> None:
    for line in (
        bodyfile_line(name, _file(stat.S_IFREG), 1, ""),
        bodyfile_line("/a", _file(stat.S_IFREG), 1, name),
        bodyfile_line("/a", _file(stat.S_IFLNK, target=name), 1, ""),
    ):
        fields = line.encode().decode().removesuffix("\n").split("|")
        assert len(fields) == 11
        assert quoted in fields[1]
        assert line.isprintable() or line[:-1].isprintable()
