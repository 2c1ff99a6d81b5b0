"""Files of a store, opened beneath its directory."""

import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgfs.blob import Links, Root
from imgfs.errors import StoreError


@pytest.fixture(autouse=True, params=["openat2", "step by step"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is run with openat2, and as on a kernel without."""
    if request.param != "openat2":
        monkeypatch.setattr("imgfs.blob.resolve.has_openat2", lambda: False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    store = tmp_path / "store"
    (store / "folder").mkdir(parents=True)
    (store / "folder/file").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"secret")
    return store


def test_files_are_opened_read_and_looked_at_by_name(store: Path) -> None:
    root = Root(store)
    with root.open("folder/file") as blob:
        assert blob.pread(100, 0) == b"content"
        assert blob.path == str(store / "folder/file")
    assert root.read("folder/file", 7) == b"content"
    assert root.stat("folder/file").st_size == 7
    assert stat.S_ISDIR(root.stat().st_mode)
    assert root.is_directory()
    assert root.is_directory("folder")
    assert not root.is_directory("folder/file")
    assert not root.is_directory("folder/file/more")
    assert not root.is_directory("gone")
    assert root.names() == ["folder"]
    assert root.names("folder") == ["file"]
    with root.scan("folder") as entries:
        assert [entry.is_file(follow_symlinks=False) for entry in entries] == [True]


def test_what_is_below_a_root_is_one(store: Path) -> None:
    root = Root(store).below("folder")
    assert root.path == str(store / "folder")
    assert root.path_of("file") == str(store / "folder/file")
    assert root.read("file", 100) == b"content"
    (store / "folder/link").symlink_to("file")
    with pytest.raises(StoreError, match="symbolic link"):
        root.read("link", 100)
    assert Root(store, Links.INSIDE).below("folder").read("link", 100) == b"content"


def test_errors_name_the_path(store: Path) -> None:
    root = Root(store)
    with pytest.raises(FileNotFoundError, match="No such file") as caught:
        root.open("folder/gone")
    assert caught.value.filename == str(store / "folder/gone")
    with pytest.raises(NotADirectoryError) as refused:
        root.names("folder/file")
    assert refused.value.filename == str(store / "folder/file")
    with pytest.raises(StoreError, match=f"{store}/folder/file: larger than 6 bytes"):
        root.read("folder/file", 6)
    with pytest.raises(FileNotFoundError) as absent:
        Root(store / "gone").open("file")
    assert absent.value.filename == str(store / "gone")


def test_nothing_but_regular_files_is_opened_and_none_is_waited_for(store: Path) -> None:
    os.mkfifo(store / "fifo")
    os.mknod(store / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
    before = len(os.listdir("/proc/self/fd"))
    root = Root(store)
    for name in ("fifo", "device", "folder", ""):
        with pytest.raises(StoreError, match=f"^{root.path_of(name)}: not a regular file$"):
            root.open(name)
        with pytest.raises(StoreError, match="not a regular file"):
            root.read(name, 10)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(store / "socket"))
        with pytest.raises(OSError, match="No such device"):
            root.open("socket")
    root.close()
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("links", [Links.REFUSED, Links.INSIDE])
def test_links_that_lead_out_are_refused_with_what_to_do(store: Path, links: Links) -> None:
    (store / "link").symlink_to("../secret")
    (store / "up").symlink_to("..")
    root = Root(store, links)
    for name in ("link", "up/secret"):
        with pytest.raises(StoreError, match=f"^{store}/{name}: a symbolic link .* not followed \\("):
            root.open(name)
        with pytest.raises(StoreError, match="not followed"):
            root.stat(name)
    with pytest.raises(StoreError, match="not followed"):
        root.names("up")
    assert not root.is_directory("up")


def test_the_root_itself_may_be_a_link(store: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("store")
    assert Root(tmp_path / "link").read("folder/file", 100) == b"content"


def test_a_root_that_was_replaced_is_followed_when_it_is_asked_to(store: Path) -> None:
    root = Root(store)
    assert root.names("folder") == ["file"]
    store.rename(store.parent / "moved")
    (store / "folder").mkdir(parents=True)
    (store / "folder/file").write_bytes(b"another")
    assert root.read("folder/file", 100) == b"content"
    root.follow()
    assert root.read("folder/file", 100) == b"another"


def test_what_is_missing_is_looked_for_in_a_root_that_was_replaced(store: Path) -> None:
    root = Root(store).below("folder")
    assert root.names() == ["file"]
    store.rename(store.parent / "moved")
    (store / "folder").mkdir(parents=True)
    (store / "folder/more").write_bytes(b"more")
    assert root.read("more", 100) == b"more"


def test_a_root_that_went_away_and_came_back_is_found_again(store: Path) -> None:
    root = Root(store)
    assert root.is_directory("folder")
    store.rename(store.parent / "away")
    root.follow()
    assert not root.is_directory("folder")
    with pytest.raises(FileNotFoundError):
        root.names()
    (store.parent / "away").rename(store)
    assert root.is_directory("folder")


def test_a_root_is_not_followed_to_another_users_directory(store: Path, tmp_path: Path) -> None:
    """The owner of a store that root has mounted could lead it to any other by a link."""
    os.chown(store, 1, 1)
    root = Root(store)
    assert root.names("folder") == ["file"]
    (tmp_path / "private/folder").mkdir(parents=True, mode=0o700)
    (tmp_path / "private/folder/file").write_bytes(b"private")
    store.rename(tmp_path / "moved")
    store.symlink_to("private")
    root.follow()
    with pytest.raises(StoreError, match=f"^{store}: another user's directory has taken its place$"):
        root.read("folder/file", 100)


def test_a_file_that_the_stores_owner_may_not_read_is_not_read_for_him(store: Path, tmp_path: Path) -> None:
    """Where the kernel lets one link any file, or root has left one there, it has the name of a blob and no link."""
    secret, linked = tmp_path / "secret", store / "folder/linked"
    os.link(secret, linked)
    os.chmod(secret, 0o640)
    assert Root(store).read("folder/linked", 100) == b"secret"
    os.chown(store, 1, 1)
    with pytest.raises(
        StoreError, match=f"^{linked}: another user's file, which the owner of {store} may not read"
    ):
        Root(store).read("folder/linked", 100)
    for mode, owner, group in ((0o644, 0, 0), (0o640, 0, 1), (0o600, 1, 0)):
        os.chmod(secret, mode)
        os.chown(secret, owner, group)
        assert Root(store).below("folder").read("linked", 100) == b"secret"


def test_threads_may_use_it_while_it_is_replaced(store: Path) -> None:
    root = Root(store)
    other = store.parent / "other"
    (other / "folder").mkdir(parents=True)
    (other / "folder/file").write_bytes(b"content")

    def read(_: int) -> bytes:
        return root.read("folder/file", 100)

    with ThreadPoolExecutor(4) as pool:
        results = pool.map(read, range(2000))
        for _ in range(100):
            store.rename(store.parent / "spare")
            other.rename(store)
            (store.parent / "spare").rename(other)
            root.follow()
        try:
            assert set(results) == {b"content"}
        except FileNotFoundError as error:  # between two renames nothing lies there
            assert error.filename == str(store)
