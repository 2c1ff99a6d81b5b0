"""The event loop touches no file: every request, of every node of every kind of source, cold and warm."""

import gc
import os
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import get_ident

import pyfuse3
import pytest
import trio

from imgfs.cache import Cache
from imgfs.mount import MountOptions
from imgfs.mount.operations import Operations
from imgfs.sources import open_source
from imgfs.sources.union import Union
from imgfs.view import RootDirectory, ViewOptions
from tests.images import TestImage, docker_archive, layer_tar, oci_layout
from tests.indexing import indexing
from tests.sources import test_contract
from tests.sources.containerd.roots import Root
from tests.splitting import docker_root, graph_root

CONTEXT = pyfuse3.RequestContext()
Maker = Callable[[Path, list[TestImage]], object]


def containerd_root(folder: Path, images: list[TestImage]) -> str:
    root = Root(folder / "containerd", *images)
    root.name({"default": {f"x/{number}:1": target for number, target in enumerate(root.manifests)}})
    return f"containerd:{root.path}"


MAKERS: dict[str, Maker] = {
    "docker-archive": lambda folder, images: docker_archive(folder / "images.tar", images),
    "oci, gzip": lambda folder, images: oci_layout(folder / "layout", images),
    "oci, zstd": lambda folder, images: oci_layout(folder / "layout", images, "zstd"),
    "oci, uncompressed": lambda folder, images: oci_layout(folder / "layout", images, "none"),
    "imgfs": test_contract.MAKERS["imgfs"],
    "containerd": containerd_root,
    "docker": lambda folder, images: docker_root(folder / "docker", images),
    "containers-storage": lambda folder, images: graph_root(folder / "graph", images),
}
# Calls that no audit event is raised for. Reading without waiting, preadv2 with RWF_NOWAIT, is what may be done.
CALLS = (
    "stat",
    "lstat",
    "fstat",
    "readlink",
    "pread",
    "read",
    "utime",
    "unlink",
    "replace",
    "write",
    "close",
)
EVENTS = ("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.truncate", "os.utime", "shutil")


class Watch:
    """What one thread does with files while it is watched."""

    def __init__(self) -> None:
        self.thread = 0
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def note(self, what: str) -> None:
        if get_ident() == self.thread:
            frames = [frame for frame, _ in islice(traceback.walk_stack(None), 1, 9)]
            self.seen.append(f"{what} in {[f'{f.f_code.co_filename}:{f.f_lineno}' for f in frames]}")

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.thread and event.startswith(EVENTS):
            self.note(f"{event} {arguments}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        self.thread = get_ident()
        try:
            yield
        finally:
            self.thread = 0


@pytest.fixture(scope="module")
def hook() -> Watch:
    """One for all tests, as a hook cannot be removed."""
    return Watch()


@pytest.fixture
def watch(hook: Watch, monkeypatch: pytest.MonkeyPatch) -> Watch:
    def noted(name: str) -> Callable[..., object]:
        call = getattr(os, name)

        def noting(*arguments: object, **named: object) -> object:
            hook.note(f"{name} {arguments}")
            return call(*arguments, **named)

        return noting

    for name in CALLS:
        monkeypatch.setattr(os, name, noted(name))
    # as where any call could hang, even opening what the kernel knows all about
    monkeypatch.setattr("imgfs.blob.file_tree._is_local", lambda fd: False)
    monkeypatch.setattr(pyfuse3, "notify_store", lambda *arguments: None)
    monkeypatch.setattr(pyfuse3, "invalidate_inode", lambda *arguments, **named: None)
    hook.seen.clear()
    return hook


async def look_at_all(
    operations: Operations, names: "list[tuple[bytes, pyfuse3.EntryAttributes]]", inode: int, seen: set[int]
) -> int:
    """Make every request of everything below a directory; how many nodes there were."""
    count = 1
    handle = await operations.opendir(inode, CONTEXT)
    names.clear()
    await operations.readdir(handle, 0, pyfuse3.ReaddirToken())
    await operations.releasedir(handle)
    for name, _ in [entry for entry in names if entry[0] not in (b".", b"..")]:
        number = (await operations.lookup(inode, name, CONTEXT)).st_ino
        entry = await operations.getattr(number, CONTEXT)
        await operations.listxattr(number, CONTEXT)
        with pytest.raises(pyfuse3.FUSEError):
            await operations.getxattr(number, b"user.none", CONTEXT)
        if stat.S_ISLNK(entry.st_mode):
            await operations.readlink(number, CONTEXT)
        elif stat.S_ISREG(entry.st_mode):
            info = await operations.open(number, os.O_RDONLY, CONTEXT)
            for offset in (0, 5000, 100_000):
                await operations.read(info.fh, 4096, offset)
            await operations.release(info.fh)
        elif number not in seen:
            seen.add(number)
            count += await look_at_all(operations, names, number, seen)
        count += 1
    return count


@pytest.mark.parametrize("lazy", [False, True], ids=["exact", "lazy"])
@pytest.mark.parametrize("maker", MAKERS)
def test_no_request_touches_a_file_in_the_event_loop(
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    images: list[TestImage],
    maker: str,
    lazy: bool,
) -> None:
    """Of an image in two sources as well, one of which has to be chosen."""
    names: list[tuple[bytes, pyfuse3.EntryAttributes]] = []

    def reply(token: object, name: bytes, entry: pyfuse3.EntryAttributes, place: int) -> bool:
        names.append((name, entry))
        return True

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    alone = TestImage([layer_tar({"only/here": b"x" * 9000})], ["alone:1"])
    references = [MAKERS[maker](tmp_path, [*images, alone]), docker_archive(tmp_path / "two.tar", images)]

    async def look(operations: Operations) -> None:
        await trio.to_thread.run_sync(lambda: None)  # what a first thread takes is no request's
        with watch.watching():
            cold = await look_at_all(operations, names, pyfuse3.ROOT_INODE, set())
            warm = await look_at_all(operations, names, pyfuse3.ROOT_INODE, set())
        assert cold == warm > 100

    for _ in range(2):  # without anything in the cache, then with it
        gc.collect()  # what earlier mounts held is not closed while this one is watched
        with indexing(tmp_path) as indexer:
            union = Union([open_source(str(reference), indexer) for reference in references])
            root = RootDirectory(union, ViewOptions(), Cache(str(tmp_path / "cache"), 1 << 30))
            operations = Operations(root, MountOptions(lazy_size=lazy))
            trio.run(look, operations)
            operations.close()
            root.close()
            union.close()
    assert not watch.seen, "\n".join(watch.seen[:2])
