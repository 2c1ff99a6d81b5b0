"""Names resolved beneath a directory, by both ways of doing it."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from imgfs.blob import Links
from imgfs.blob.resolve import has_openat2, open_beneath, open_step_by_step

Open = Callable[[int, bytes, int, Links], int]


@pytest.fixture(params=[open_beneath, open_step_by_step])
def open_file(request: pytest.FixtureRequest) -> Open:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"secret")
    directory = tmp_path / "directory"
    (directory / "a/b").mkdir(parents=True)
    (directory / "a/b/file").write_bytes(b"file")
    (directory / "a/b/up").symlink_to("../../a/b/file")
    (directory / "a/link").symlink_to("b")
    (directory / "chain").symlink_to("a/link/up")
    (directory / "out").symlink_to("..")
    (directory / "out-and-in").symlink_to("../directory/a/b/file")
    (directory / "absolute").symlink_to(directory / "a/b")
    (directory / "secret-link").symlink_to(tmp_path / "secret")
    (directory / "as-root").symlink_to("/a/b/file")
    (directory / "loop").symlink_to("loop")
    (directory / "process").symlink_to("/proc/self/root")
    return directory


def _read(open_file: Open, directory: Path, name: bytes, links: Links, flags: int = os.O_RDONLY) -> bytes:
    """The content of what is opened; no descriptor is left open."""
    before = len(os.listdir("/proc/self/fd"))
    try:
        return _content(open_file, directory, name, links, flags)
    finally:
        assert len(os.listdir("/proc/self/fd")) <= before


def _content(open_file: Open, directory: Path, name: bytes, links: Links, flags: int = os.O_RDONLY) -> bytes:
    at = os.open(directory, os.O_PATH)
    try:
        with open(open_file(at, name, flags, links), "rb") as file:
            return file.read()
    finally:
        os.close(at)


def test_the_tests_try_both_ways() -> None:
    assert has_openat2()


@pytest.mark.parametrize("links", Links)
@pytest.mark.parametrize("name", [b"a/b/file", b"./a/b/file", b"a//b/file", b"a/../a/b/file", b"a/./b/file"])
def test_a_file_is_found_however_its_name_is_written(
    open_file: Open, directory: Path, name: bytes, links: Links
) -> None:
    assert _read(open_file, directory, name, links) == b"file"


@pytest.mark.parametrize("links", Links)
@pytest.mark.parametrize(
    "name",
    [
        b"../secret",
        b"/../secret",
        b"a/../../secret",
        b"out/secret",
        b"secret-link",
        b"loop",
        b"loop/file",
        b"process/etc/passwd",
        b"out-and-in",
    ],
)
def test_no_name_leads_out(open_file: Open, directory: Path, name: bytes, links: Links) -> None:
    with pytest.raises(OSError, match=r"No such file|symbolic links|cross-device"):
        _read(open_file, directory, name, links)


@pytest.mark.parametrize("links", Links)
@pytest.mark.parametrize("name", [b"", b"gone", b"a/b/file/more", b"a\0b", b"n" * 300, b"deep/" * 2000])
def test_what_is_not_there_is_an_error(open_file: Open, directory: Path, name: bytes, links: Links) -> None:
    with pytest.raises(OSError, match="Errno"):
        _read(open_file, directory, name, links)


@pytest.mark.parametrize("name", [b"a/link/file", b"a/b/up", b"chain"])
def test_links_that_stay_inside_are_followed_where_they_may_be(
    open_file: Open, directory: Path, name: bytes
) -> None:
    for links in (Links.INSIDE, Links.CHROOT):
        assert _read(open_file, directory, name, links) == b"file"
    with pytest.raises(OSError, match="symbolic links"):
        _read(open_file, directory, name, Links.REFUSED)


def test_absolute_links_lead_where_they_would_in_a_container_or_nowhere(
    open_file: Open, directory: Path
) -> None:
    assert _read(open_file, directory, b"as-root", Links.CHROOT) == b"file"
    assert _read(open_file, directory, b"/a/../../a/b/file", Links.CHROOT) == b"file"
    for name in (b"as-root", b"absolute/file", b"/a/b/file"):
        with pytest.raises(OSError, match="cross-device"):
            _read(open_file, directory, name, Links.INSIDE)
        with pytest.raises(OSError, match=r"cross-device|symbolic links"):
            _read(open_file, directory, name, Links.REFUSED)


@pytest.mark.parametrize("links", Links)
def test_a_link_at_the_end_can_be_refused_where_others_are_followed(
    open_file: Open, directory: Path, links: Links
) -> None:
    with pytest.raises(OSError, match="symbolic links"):
        _read(open_file, directory, b"chain", links, os.O_RDONLY | os.O_NOFOLLOW)


def test_chains_of_links_end(open_file: Open, directory: Path) -> None:
    (directory / "0").symlink_to("a/b/file")
    for number in range(60):
        (directory / str(number + 1)).symlink_to(str(number))
    assert _read(open_file, directory, b"30", Links.INSIDE) == b"file"
    with pytest.raises(OSError, match="symbolic links"):
        _read(open_file, directory, b"60", Links.INSIDE)


@pytest.mark.parametrize("flags", [os.O_PATH, os.O_PATH | os.O_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY])
def test_a_directory_is_opened_itself_or_by_a_link(open_file: Open, directory: Path, flags: int) -> None:
    at = os.open(directory, os.O_PATH)
    for name, links in ((b".", Links.REFUSED), (b"a/..", Links.REFUSED), (b"a/link/../..", Links.INSIDE)):
        fd = open_file(at, name, flags, links)
        assert os.path.samestat(os.fstat(fd), directory.stat())
        os.close(fd)
    fd = open_file(at, b"a/link", flags, Links.INSIDE)
    assert os.path.samestat(os.fstat(fd), (directory / "a/b").stat())
    os.close(fd)
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        open_file(at, b"a/link", flags, Links.REFUSED)
    os.close(at)


def test_descriptors_are_not_inherited(open_file: Open, directory: Path) -> None:
    at = os.open(directory, os.O_PATH)
    fd = open_file(at, b"a/b/file", os.O_RDONLY, Links.REFUSED)
    assert not os.get_inheritable(fd)
    os.close(fd)
    os.close(at)


@pytest.mark.parametrize("links", Links)
def test_a_name_that_is_exchanged_for_a_link_all_the_time_never_leads_out(
    open_file: Open, directory: Path, links: Links
) -> None:
    """One thread renames a file, and a folder on the way to one, into the place of links that lead out, and back."""
    (directory / "x").write_bytes(b"mine")
    (directory / "y").mkdir()
    (directory / "y/secret").write_bytes(b"mine")
    stop = threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            (directory / "l1").symlink_to("../secret")
            os.rename(directory / "l1", directory / "x")
            os.rename(directory / "y", directory / "z")
            (directory / "y").symlink_to("..")
            (directory / "f").write_bytes(b"mine")
            os.rename(directory / "f", directory / "x")
            os.unlink(directory / "y")
            os.rename(directory / "z", directory / "y")

    racer = threading.Thread(target=exchange)
    racer.start()
    try:
        seen = set()
        for _ in range(1500):
            for name in (b"x", b"y/secret"):
                try:
                    seen.add(_content(open_file, directory, name, links))
                except OSError as error:
                    seen.add(str(error.errno).encode())
    finally:
        stop.set()
        racer.join()
    assert b"secret" not in seen
    assert b"mine" in seen


@pytest.mark.parametrize("opening", [open_beneath, open_step_by_step])
def test_reading_a_file_changes_no_access_time(tmp_path: Path, opening: Open) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    os.utime(file, ns=(10**9, 2 * 10**9))
    top = os.open(tmp_path, os.O_PATH)
    fd = opening(top, b"file", os.O_RDONLY, Links.REFUSED)
    assert os.read(fd, 9) == b"content"
    os.close(fd)
    os.close(top)
    assert file.stat().st_atime_ns == 10**9
