"""Paths of a root file system, looked up as the kernel does for a process that it is the root directory of."""

import errno
import io
import os
import stat
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob.resolve import Links, open_beneath
from imgfs.digest import DiffID
from imgfs.errors import LayerNotFound
from imgfs.rootfs import RootFS, TreeCache
from imgfs.store import LayerStack
from imgfs.tree import Tree
from tests.images import layer_tar
from tests.rootfs.roots import root_fs
from tests.store.stores import Layers
from tests.tree.stacks import Entry, tar

BELOW = tar(
    [
        Entry("usr", tarfile.DIRTYPE, mode=0o755),
        Entry("usr/lib", tarfile.DIRTYPE, mode=0o755),
        Entry("usr/lib/os-release", tarfile.REGTYPE, "NAME=below\n", owner=7),
        Entry("lib", tarfile.SYMTYPE, "usr/lib"),
        Entry("etc", tarfile.DIRTYPE, mode=0o755),
        Entry("etc/os-release", tarfile.SYMTYPE, "../../../lib/os-release"),
        Entry("etc/absolute", tarfile.SYMTYPE, "/etc"),
        Entry("etc/loop", tarfile.SYMTYPE, "loop"),
        Entry("etc/nowhere", tarfile.SYMTYPE, "/nowhere"),
        Entry("etc/not utf-8 \udcff", tarfile.REGTYPE, "x", xattr="value"),
        Entry("null", tarfile.CHRTYPE, device=(1, 3)),
    ]
)
ABOVE = tar(
    [Entry("usr/lib/os-release", tarfile.REGTYPE, "NAME=above\n"), Entry("etc/.wh.loop", tarfile.REGTYPE)]
)


@pytest.fixture
def root() -> RootFS:
    return root_fs(BELOW)


@pytest.mark.parametrize(
    "path",
    [
        "/usr/lib/os-release",
        "usr//lib/./os-release",
        b"/lib/os-release",
        "/etc/os-release",
        "/etc/absolute/os-release",
    ],
)
def test_a_file_is_opened_by_any_path_that_leads_to_it(root: RootFS, path: str | bytes) -> None:
    with root.open(path) as file:
        assert file.readline() == b"NAME=below\n"
        assert file.seek(-6, os.SEEK_END) == 5
        assert file.read() == b"below\n"


def test_what_is_known_of_a_path_is_that_of_what_it_leads_to(root: RootFS) -> None:
    file = root.stat("/etc/os-release")
    assert (file.mode, file.uid, file.size, file.links, file.target) == (stat.S_IFREG | 0o644, 7, 11, 1, "")
    link = root.stat("/etc/os-release", follow=False)
    assert (stat.S_ISLNK(link.mode), link.target) == (True, "../../../lib/os-release")
    assert root.readlink("/lib") == "usr/lib"
    assert root.stat("null").device == (1, 3)
    (entry,) = (found for path, found in root.walk() if path.startswith("/etc/not utf-8"))
    assert entry.xattrs == {b"trusted.test": b"value"}
    assert root.stat(os.fsdecode(b"/etc/not utf-8 \xff")) == entry


def test_directories_are_listed_by_the_order_of_their_bytes(root: RootFS) -> None:
    assert root.listdir() == ["etc", "lib", "null", "usr"]
    assert root.listdir("/lib/..") == ["lib"]
    assert [os.fsencode(name) for name in root.listdir("etc")][2:4] == [b"not utf-8 \xff", b"nowhere"]


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/none", errno.ENOENT),
        ("/etc/nowhere", errno.ENOENT),
        ("/etc/loop", errno.ELOOP),
        ("/etc/os-release/", errno.ENOTDIR),
        ("/etc/os-release/below", errno.ENOTDIR),
        ("/usr", errno.EISDIR),
        ("/null", errno.ENXIO),
        ("/" + "n" * 256, errno.ENAMETOOLONG),
        ("/n" * 2048, errno.ENAMETOOLONG),
    ],
)
def test_what_cannot_be_opened_is_the_error_that_the_system_has_for_it(
    root: RootFS, path: str, number: int
) -> None:
    with pytest.raises(OSError, match=r".") as error:
        root.open(path)
    assert (error.value.errno, error.value.filename) == (number, path)


def test_only_directories_are_listed_and_only_links_read(root: RootFS) -> None:
    with pytest.raises(NotADirectoryError):
        root.listdir("/null")
    with pytest.raises(OSError, match="Invalid argument"):
        root.readlink("/usr")


def test_existing_is_asked_without_errors(root: RootFS) -> None:
    assert root.exists("/etc/os-release")
    assert root.exists("/etc/nowhere", follow=False)
    assert not root.exists("/etc/nowhere")
    assert not root.exists("/null/below")


def test_paths_are_found_by_name_or_as_a_whole() -> None:
    root = root_fs(BELOW, ABOVE)
    assert list(root.find("os-*")) == ["/etc/os-release", "/usr/lib/os-release"]
    assert list(root.find("usr/*/os-release")) == ["/usr/lib/os-release"]
    assert list(root.find("*/lib")) == ["/usr/lib"]
    assert list(root.find("**/lib")) == ["/lib", "/usr/lib"]
    assert [path for path, _ in root.walk()][:2] == ["/etc", "/etc/absolute"]


def test_what_each_layer_did_to_a_path_is_known_without_the_merged_tree() -> None:
    root = root_fs(BELOW, ABOVE)
    assert [(event.layer, event.what) for event in root.which("/lib/os-release")] == [
        (0, "added"),
        (1, "replaced"),
    ]
    assert [event.gone for event in root.which("etc/loop")] == [False, True]
    assert "tree" not in vars(root)


def test_a_flat_tar_is_all_of_it() -> None:
    with root_fs(BELOW, ABOVE) as root, root.flat_tar() as blob:
        data = blob.pread(blob.size, 0)
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as flat:
        assert sorted(f"/{name}" for name in flat.getnames()) == sorted(path for path, _ in root.walk())


def test_nothing_is_read_before_it_is_asked_for() -> None:
    def fail(work: object) -> None:
        raise LayerNotFound("no layers")

    root = RootFS(fail, None, "image")  # type: ignore[arg-type]  # it is not to be used
    with pytest.raises(LayerNotFound):
        root.listdir()


def test_a_file_that_is_open_stays_readable() -> None:
    with root_fs(BELOW) as root:
        file = root.open("/lib/os-release")
    assert file.read() == b"NAME=below\n"
    file.close()
    with root.open("/lib/os-release") as file:
        assert file.read() == b"NAME=below\n", "layers are opened again"


NAMES = st.sampled_from("ab")
PATHS = st.builds(
    lambda parts, before, after: before + "/".join(parts) + after,
    st.lists(st.sampled_from(["a", "a", "b", "b", "..", "."]), min_size=1, max_size=4),
    st.sampled_from(["", "/"]),
    st.sampled_from(["", "", "/", "/."]),
)
MADE = st.tuples(
    st.lists(NAMES, min_size=1, max_size=3), st.one_of(st.none(), st.just(""), PATHS, PATHS, PATHS)
)


@settings(max_examples=200)
@given(st.lists(MADE, min_size=4, max_size=12), st.lists(PATHS, min_size=20, max_size=20))
def test_random_paths_through_random_links_lead_where_the_kernel_says(
    made: list[tuple[list[str], str | None]], paths: list[str]
) -> None:
    """Directories (None), files ("") and symbolic links are made where they can be."""
    with tempfile.TemporaryDirectory() as name:
        for parts, target in made:
            place = Path(name, *parts)
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                if target is None:
                    place.mkdir()
                elif target:
                    place.symlink_to(target)
                else:
                    place.touch()
            except (OSError, FileExistsError):
                continue
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(name, "")
        root = root_fs(buffer.getvalue())
        directory = os.open(name, os.O_PATH)
        try:
            for path in paths:
                for follow in (True, False):
                    assert _ours(root, path, follow) == _theirs(directory, path, follow), path
        finally:
            os.close(directory)


def _ours(root: RootFS, path: str, follow: bool) -> object:
    try:
        return root.tree.path(root.lookup(path, follow=follow))
    except OSError as error:
        return error.errno


def _theirs(directory: int, path: str, follow: bool) -> object:
    flags = os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW
    try:
        fd = open_beneath(directory, path.encode(), flags, Links.CHROOT)
    except OSError as error:
        return error.errno
    try:
        above = os.readlink(f"/proc/self/fd/{directory}")
        return os.fsencode(os.readlink(f"/proc/self/fd/{fd}")[len(above) + 1 :])
    finally:
        os.close(fd)


def test_layers_that_cannot_be_read_yet_keep_no_other_root_file_system_waiting() -> None:
    """Of a source that hangs, as a dead NFS server."""
    go_on, waits = Event(), Event()
    good = root_fs(layer_tar({"a": b"quick"}))

    class Hanging(RootFS):
        def _make_tree(self, layers: LayerStack) -> Tree:
            waits.set()
            go_on.wait(10)
            return super()._make_tree(layers)

    layer = layer_tar({"a": b"hung"})
    stack = LayerStack(Layers([layer]), [DiffID.of(layer)])
    stack.take()
    hanging = Hanging.of(stack, TreeCache(None), "hanging")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(hanging.stat, "/a")
        assert waits.wait(10)
        try:
            assert pool.submit(good.stat, "/a").result(5).size == 5
        finally:
            go_on.set()
        assert first.result().size == 4


def test_nothing_exists_where_links_lead_in_a_circle() -> None:
    with root_fs(tar([Entry("a", tarfile.SYMTYPE, "b"), Entry("b", tarfile.SYMTYPE, "a")])) as root:
        assert not root.exists("/a")
        assert not root.exists("/a/below")
        assert root.exists("/a", follow=False)


def test_layers_that_cannot_be_read_are_an_error_whatever_is_asked_for() -> None:
    def fail(work: object) -> NoReturn:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "layer")

    root = RootFS(fail, TreeCache(None), "image")
    with pytest.raises(FileNotFoundError, match="layer"):
        root.exists("/etc")
