"""Paths in images against pathlib's over the same files."""

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import imgfs
from tests.images import TestImage, docker_archive
from tests.tree.stacks import Entry, tar

FILE, DIRECTORY, SYMLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE
LAYER = tar(
    [
        Entry("etc", DIRECTORY),
        Entry("etc/a.conf", FILE, "a\nb\n"),
        Entry("etc/deep/er/b.conf", FILE, "äöü"),
        Entry("etc/.hidden.conf", FILE, ""),
        Entry("etc/link", SYMLINK, "a.conf"),
        Entry("etc/folder", SYMLINK, "deep"),
        Entry("etc/nowhere", SYMLINK, "none"),
        Entry("etc/absolute", SYMLINK, "/etc/a.conf"),
    ]
)


@pytest.fixture
def both(environment: None, tmp_path: Path) -> Iterator[tuple[imgfs.ImagePath, Path]]:
    """The root of an image, and a directory with the same in it."""
    archive = docker_archive(tmp_path / "image.tar", [TestImage([LAYER], ["x:1"])])
    real = tmp_path / "real"
    real.mkdir()
    subprocess.run(["tar", "xf", "-", "-C", real], input=LAYER, check=True)
    with imgfs.open_image(archive) as image:
        yield image.rootfs, real


@pytest.mark.parametrize(
    "name", ["etc", "etc/a.conf", "etc/link", "etc/folder", "etc/nowhere", "etc/none", "etc/folder/er", ""]
)
def test_questions_are_answered_as_pathlib_does(both: tuple[imgfs.ImagePath, Path], name: str) -> None:
    path, real = both[0] / name, both[1] / name
    for question in ("exists", "is_dir", "is_file", "is_symlink"):
        assert getattr(path, question)() == getattr(real, question)(), question
    if real.exists():
        found, expected = path.stat(), real.stat()
        assert not name or found[:1] + found[3:6] == expected[:1] + expected[3:6]
        if path.is_file():
            assert (found.st_size, found.st_mtime_ns) == (expected.st_size, expected.st_mtime_ns)
    if real.is_dir():
        assert sorted(child.name for child in path.iterdir()) == sorted(os.listdir(real))
    if real.is_symlink():
        assert path.readlink() == str(os.readlink(real))


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "etc/*.conf",
        "**/*.conf",
        "etc/**/b.conf",
        "etc/[!b]*",
        "*/?.conf",
        "etc/deep/*",
        "etc/[z-a]*",
        "e*c/*/er",
    ],
)
def test_globs_find_what_pathlib_finds(both: tuple[imgfs.ImagePath, Path], pattern: str) -> None:
    root, real = both
    if pattern == "etc/[z-a]*":
        expected: list[str] = []
    else:
        expected = sorted(str(path.relative_to(real)) for path in real.glob(pattern))
    # pathlib 3.11 follows links to directories for `*/`
    expected = [path for path in expected if path != "etc/folder/er"]
    assert sorted(str(path)[1:] for path in root.glob(pattern)) == expected


def test_files_are_read_as_bytes_and_as_text(both: tuple[imgfs.ImagePath, Path]) -> None:
    root, _ = both
    assert (root / "etc/a.conf").read_bytes() == b"a\nb\n"
    assert (root / "etc/absolute").read_text() == "a\nb\n"
    assert (root / "etc/folder/er/b.conf").read_text() == "äöü"
    with (root / "etc" / "a.conf").open() as lines:
        assert list(lines) == ["a\n", "b\n"]
    with (root / "etc/a.conf").open("rb") as file:
        file.seek(2)
        assert file.read() == b"b\n"
    with pytest.raises(ValueError, match="only read"):
        (root / "etc/a.conf").open("w")
    with pytest.raises(FileNotFoundError):
        (root / "none").read_bytes()
    with pytest.raises(IsADirectoryError):
        (root / "etc").read_bytes()
    with pytest.raises(NotADirectoryError):
        list((root / "etc/a.conf").iterdir())


def test_paths_compare_and_print_as_text(both: tuple[imgfs.ImagePath, Path]) -> None:
    root, _ = both
    path = root.joinpath("etc", "a.conf")
    assert (str(path), path.name, path.stem, path.suffix) == ("/etc/a.conf", "a.conf", "a", ".conf")
    assert path.parent == root / "etc" != root
    assert path.parts == ("/", "etc", "a.conf")
    assert len({path, root / "etc/a.conf"}) == 1
    assert root < path
    assert [str(found) for found in root.rglob("b.conf")] == ["/etc/deep/er/b.conf"]
