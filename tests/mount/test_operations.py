"""File system operations called as the kernel's requests call them, without a mount."""

import errno
import os
from collections.abc import Awaitable, Callable
from threading import Event, get_ident
from typing import TypeVar

import pyfuse3
import pytest
import trio

from imgfs.blob import Blob, MemoryBlob
from imgfs.errors import Corrupt, ImageNotFound
from imgfs.mount import MountOptions
from imgfs.mount.operations import Operations
from imgfs.view import Directory
from tests.mount.trees import Failing, Folder, Link, Table, Text

CONTEXT = pyfuse3.RequestContext()
ROOT = pyfuse3.ROOT_INODE
T = TypeVar("T")


class Recorded(MemoryBlob):
    """Bytes that note which threads read them: `in_place` says whether they can be had without blocking."""

    def __init__(self, data: bytes, *, in_place: bool) -> None:
        super().__init__(data)
        self._in_place = in_place
        self.readers: list[int] = []
        self.closed = 0

    def pread(self, size: int, offset: int) -> bytes:
        self.readers.append(get_ident())
        return super().pread(size, offset)

    def try_pread(self, size: int, offset: int) -> bytes | None:  # type: ignore[override]
        return self.pread(size, offset) if self._in_place else None

    def close(self) -> None:
        self.closed += 1

    def try_close(self) -> bool:
        return False


class Opening(Text):
    """A file that opens to a blob at hand."""

    def __init__(self, key: str, blob: Blob) -> None:
        super().__init__(key, b"")
        self._blob = blob

    def open(self) -> Blob:
        return self._blob


class Broken(Directory):
    """A directory that cannot be read."""

    key = "/broken"

    def lookup(self, name: bytes) -> None:
        raise Corrupt("a damaged directory")

    def entries(self) -> None:  # type: ignore[override]
        raise Corrupt("a damaged directory")


def call(work: Callable[[], Awaitable[T]]) -> T:
    """Run requests in an event loop; all of them must end soon."""

    async def bounded() -> T:
        with trio.fail_after(10):
            return await work()

    return trio.run(bounded)


def served(**children: object) -> Operations:
    """A file system whose root holds these."""
    root = Folder("/", {name.encode(): node for name, node in children.items()})  # type: ignore[misc]
    return Operations(root, MountOptions())


async def find(operations: Operations, name: bytes, parent: int = ROOT) -> int:
    return (await operations.lookup(parent, name, CONTEXT)).st_ino


def refused(work: Callable[[], Awaitable[object]]) -> int:
    """The errno that a request ends with."""
    with pytest.raises(pyfuse3.FUSEError) as caught:
        call(work)
    return caught.value.errno


def test_a_name_is_found_with_its_attributes_and_one_that_is_not_there_is_enoent() -> None:
    operations = served(a=Text("/a", b"abc"))
    assert call(lambda: operations.lookup(ROOT, b"a", CONTEXT)).st_size == 3
    assert refused(lambda: operations.lookup(ROOT, b"b", CONTEXT)) == errno.ENOENT


def test_a_file_holds_no_names() -> None:
    async def look_below_a_file() -> None:
        operations = served(a=Text("/a", b"abc"))
        await operations.lookup(await find(operations, b"a"), b"x", CONTEXT)

    assert refused(look_below_a_file) == errno.ENOENT


def test_a_damaged_directory_is_eio() -> None:
    operations = served(broken=Broken())
    number = call(lambda: find(operations, b"broken"))
    assert refused(lambda: operations.lookup(number, b"x", CONTEXT)) == errno.EIO
    assert refused(lambda: operations.opendir(number, CONTEXT)) == errno.EIO


class Unforeseen(Text):
    """A file about which everything fails with an unexpected error."""

    opens_at_once = True

    @property
    def known_size(self) -> int:
        raise RuntimeError("unexpected")

    def open(self) -> Blob:
        raise RuntimeError("unexpected")


def test_an_unexpected_error_is_eio_and_not_the_end_of_the_mount() -> None:
    """pyfuse3 ends the mount if a handler raises anything but its own error."""
    operations = served(a=Unforeseen("/a", b""))
    assert refused(lambda: operations.lookup(ROOT, b"a", CONTEXT)) == errno.EIO
    assert refused(lambda: operations.getattr(12345, CONTEXT)) == errno.EIO
    assert refused(lambda: operations.read(12345, 0, 1)) == errno.EIO
    assert refused(lambda: operations.release(12345)) == errno.EIO
    assert refused(lambda: operations.releasedir(12345)) == errno.EIO
    call(lambda: operations.forget([(12345, 1)]))


def test_a_file_that_was_to_open_at_once_and_does_not_is_an_error() -> None:
    class Past(Failing):
        known_size = 3  # type: ignore[assignment]
        opens_at_once = True

    operations = served(a=Past("/a", Corrupt("it lies past the end")))
    number = call(lambda: find(operations, b"a"))
    assert refused(lambda: operations.open(number, os.O_RDONLY, CONTEXT)) == errno.EIO


def test_names_longer_than_any_are_refused_as_such() -> None:
    operations = served(a=Text("/a", b"abc"))
    assert refused(lambda: operations.lookup(ROOT, b"a" * 256, CONTEXT)) == errno.ENAMETOOLONG
    assert refused(lambda: operations.lookup(ROOT, b"a" * 255, CONTEXT)) == errno.ENOENT


def test_a_name_that_may_change_is_not_to_be_remembered() -> None:
    node = Text("/a", b"")
    for node.name_may_change in (True, False):
        operations = Operations(Folder("/", {b"a": node}), MountOptions())
        timeout = call(lambda: operations.lookup(ROOT, b"a", CONTEXT)).entry_timeout  # noqa: B023
        assert (timeout == 0) is node.name_may_change


def test_names_that_are_gone_are_to_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[tuple[int, bytes]] = []

    def invalidate(inode: int, name: bytes, *, ignore_enoent: bool) -> None:
        assert ignore_enoent
        forgotten.append((inode, name))

    monkeypatch.setattr(pyfuse3, "invalidate_entry_async", invalidate)
    operations = served(d=Folder("/d", {b"a": Text("/d/a", b"")}))
    number = call(lambda: find(operations, b"d"))
    operations.forget_names([("/d", b"a"), ("/", b"d")])
    assert forgotten == [(number, b"a"), (ROOT, b"d")]


def test_a_directory_that_is_open_lists_no_name_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    def reply(token: object, name: bytes, entry: object, position: int) -> bool:
        sent.append(name)
        return True

    monkeypatch.setattr(pyfuse3, "invalidate_entry_async", lambda *_, **__: None)
    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    top = Folder("/", {b"a": Text("/a", b""), b"b": Text("/b", b"")})
    operations = Operations(top, MountOptions())
    handle = call(lambda: operations.opendir(ROOT, CONTEXT))
    del top.children[b"a"]
    operations.forget_names([("/", b"a")])
    call(lambda: operations.readdir(handle, 0, pyfuse3.ReaddirToken()))
    assert sent == [b".", b"..", b"b"]


def test_extended_attributes_can_be_refused_for_good() -> None:
    operations = Operations(Folder("/", {}), MountOptions(no_xattrs=True))
    assert refused(lambda: operations.getxattr(ROOT, b"user.a", CONTEXT)) == errno.ENOSYS
    assert refused(lambda: operations.listxattr(ROOT, CONTEXT)) == errno.ENOSYS


def test_what_the_kernel_forgot_can_be_found_again() -> None:
    async def find_forget_find() -> tuple[int, int]:
        operations = served(a=Text("/a", b"abc"))
        first, second = await find(operations, b"a"), await find(operations, b"a")
        await operations.forget([(first, 1), (second, 1)])
        return first, await find(operations, b"a")

    first, again = call(find_forget_find)
    assert first == again


def test_stat_waits_for_the_exact_size() -> None:
    async def look_then_stat() -> tuple[int, int]:
        operations = served(a=Text("/a", b"abc", known=False))
        entry = await operations.lookup(ROOT, b"a", CONTEXT)
        return entry.st_size, (await operations.getattr(entry.st_ino, CONTEXT)).st_size

    assert call(look_then_stat) == (0, 3)


def test_waiting_for_sizes_keeps_no_program_from_reading() -> None:
    learnt = Event()

    class Slow(Text):
        def find_size(self) -> int:
            learnt.wait(10)
            return super().find_size()

    async def read_meanwhile() -> bytes:
        slow = {f"slow{number}": Slow(f"/slow{number}", b"", known=False) for number in range(100)}
        operations = served(**slow, quick=Opening("/quick", Recorded(b"abc", in_place=False)))
        async with trio.open_nursery() as nursery:
            for name in slow:
                nursery.start_soon(operations.getattr, await find(operations, name.encode()), CONTEXT)
            await trio.sleep(0.1)
            handle = await operations.open(await find(operations, b"quick"), os.O_RDONLY, CONTEXT)
            with trio.move_on_after(5):
                data = await operations.read(handle.fh, 0, 3)
            learnt.set()
        return data

    assert call(read_meanwhile) == b"abc"


@pytest.mark.parametrize("lazy", [False, True])
def test_the_kernel_is_made_to_ask_for_a_size_once_before_the_first_read(
    monkeypatch: pytest.MonkeyPatch, lazy: bool
) -> None:
    """When several open a file at the same time, after a listing that had no size for it."""
    asked: list[tuple[int, int]] = []

    async def open_often() -> int:
        node = Text("/a", b"abc", known=False)
        operations = Operations(Folder("/", {b"a": node}), MountOptions(lazy_size=lazy))
        number = await find(operations, b"a")
        open_files = 0

        async def open_one() -> None:
            nonlocal open_files
            assert (await operations.open(number, os.O_RDONLY, CONTEXT)).direct_io == (
                lazy and not node.known
            )
            open_files += 1

        monkeypatch.setattr(
            pyfuse3, "invalidate_inode", lambda inode, attr_only: asked.append((inode, open_files))
        )
        if lazy:
            await open_one()
            assert not asked, "who does not wait reads past any size"
            open_files = 0
            node.known = True
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(open_one)
        await open_one()
        return number

    number = call(open_often)
    assert asked == [(number, 0)]


def test_a_lazy_stat_answers_0_until_the_size_is_known() -> None:
    async def stat_twice() -> list[tuple[int, bool]]:
        node = Text("/a", b"abc", known=False)
        operations = Operations(Folder("/", {b"a": node}), MountOptions(lazy_size=True))
        number = await find(operations, b"a")
        entries = [await operations.getattr(number, CONTEXT)]
        node.find_size()
        entries.append(await operations.getattr(number, CONTEXT))
        return [(entry.st_size, entry.attr_timeout > 0) for entry in entries]

    assert call(stat_twice) == [(0, False), (3, True)]


def test_a_size_that_cannot_be_found_out_is_an_error() -> None:
    operations = served(a=Failing("/a", Corrupt("damaged")))
    number = call(lambda: find(operations, b"a"))
    assert refused(lambda: operations.getattr(number, CONTEXT)) == errno.EIO


def test_what_was_removed_can_be_measured_only_while_it_is_open() -> None:
    """Programs stat what they have open before they read it; that must not fail when its image is gone."""

    class Removed(Text):
        known_size = None

        def find_size(self) -> int:
            raise ImageNotFound("abc")

    operations = served(a=Removed("/a", b"abc"))
    number = call(lambda: find(operations, b"a"))
    assert refused(lambda: operations.getattr(number, CONTEXT)) == errno.ENOENT
    handle = call(lambda: operations.open(number, os.O_RDONLY, CONTEXT)).fh
    assert call(lambda: operations.getattr(number, CONTEXT)).st_size == 3
    call(lambda: operations.release(handle))
    assert refused(lambda: operations.getattr(number, CONTEXT)) == errno.ENOENT


def test_a_table_is_loaded_when_it_is_looked_into_and_again_when_it_was_dropped() -> None:
    async def look(table: Table) -> list[int]:
        operations = Operations(Folder("/", {b"t": table.top()}), MountOptions())
        top = await find(operations, b"t")
        loads = [table.loads]
        file = await find(operations, b"3", top)
        loads.append(table.loads)
        table.nodes = []
        assert (await operations.getattr(file, CONTEXT)).st_size == 1
        return [*loads, table.loads]

    assert call(lambda: look(Table("/table", 5))) == [0, 1, 2]


def test_a_lazy_stat_of_a_tables_directory_loads_nothing() -> None:
    async def stat_top(table: Table, *, lazy: bool) -> int:
        operations = Operations(Folder("/", {b"t": table.top()}), MountOptions(lazy_size=lazy))
        await operations.getattr(await find(operations, b"t"), CONTEXT)
        return table.loads

    assert call(lambda: stat_top(Table("/table", 5), lazy=True)) == 0
    assert call(lambda: stat_top(Table("/table", 5), lazy=False)) == 1


def test_links_are_read_and_nothing_else_is_a_link() -> None:
    operations = served(a=Text("/a", b""), link=Link("/link", b"../a"))
    link, file = (call(lambda: find(operations, b"link")), call(lambda: find(operations, b"a")))
    assert call(lambda: operations.readlink(link, CONTEXT)) == b"../a"
    assert refused(lambda: operations.readlink(file, CONTEXT)) == errno.EINVAL


def test_only_directories_can_be_listed_and_only_files_opened() -> None:
    operations = served(a=Text("/a", b""))
    file = call(lambda: find(operations, b"a"))
    assert refused(lambda: operations.opendir(file, CONTEXT)) == errno.ENOTDIR
    assert refused(lambda: operations.open(ROOT, os.O_RDONLY, CONTEXT)) == errno.EINVAL


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND])
def test_opening_for_writing_is_erofs(flags: int) -> None:
    operations = served(a=Text("/a", b""))
    file = call(lambda: find(operations, b"a"))
    assert refused(lambda: operations.open(file, flags, CONTEXT)) == errno.EROFS


@pytest.mark.parametrize(
    ("request_", "arguments"),
    [
        ("mkdir", (ROOT, b"x", 0o755, CONTEXT)),
        ("mknod", (ROOT, b"x", 0o644, 0, CONTEXT)),
        ("create", (ROOT, b"x", 0o644, os.O_WRONLY, CONTEXT)),
        ("symlink", (ROOT, b"x", b"target", CONTEXT)),
        ("link", (2, ROOT, b"x", CONTEXT)),
        ("rename", (ROOT, b"a", ROOT, b"b", 0, CONTEXT)),
        ("unlink", (ROOT, b"a", CONTEXT)),
        ("rmdir", (ROOT, b"a", CONTEXT)),
        ("setattr", (ROOT, None, None, None, CONTEXT)),
        ("setxattr", (ROOT, b"user.x", b"value", CONTEXT)),
        ("removexattr", (ROOT, b"user.x", CONTEXT)),
        ("write", (1, 0, b"data")),
    ],
)
def test_every_attempt_to_change_anything_is_erofs(request_: str, arguments: tuple[object, ...]) -> None:
    operations = served(a=Text("/a", b""))
    assert refused(lambda: getattr(operations, request_)(*arguments)) == errno.EROFS


def test_there_are_no_extended_attributes() -> None:
    operations = served()
    assert refused(lambda: operations.getxattr(ROOT, b"user.x", CONTEXT)) == errno.ENODATA
    assert list(call(lambda: operations.listxattr(ROOT, CONTEXT))) == []


def test_a_node_that_is_known_to_have_no_extended_attributes_is_not_made_to_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table("/t", 3)
    operations = served(t=table.top())

    async def ask() -> bytes:
        number = await find(operations, b"t")
        monkeypatch.setattr(table, "lacks_xattrs", lambda number: True)
        monkeypatch.setattr(table, "node", lambda number: pytest.fail("it was made"))
        return await operations.getxattr(number, b"user.x", CONTEXT)

    assert refused(ask) == errno.ENODATA


def test_a_full_file_system_with_long_names_is_what_df_shows() -> None:
    data = call(lambda: served().statfs(CONTEXT))
    assert (data.f_bavail, data.f_namemax) == (0, 255)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_read_is_done_in_place_unless_it_could_block(in_place: bool) -> None:
    blob = Recorded(b"0123456789", in_place=in_place)

    async def open_and_read() -> bytes:
        operations = served(a=Opening("/a", blob))
        handle = (await operations.open(await find(operations, b"a"), os.O_RDONLY, CONTEXT)).fh
        return await operations.read(handle, 2, 5)

    assert call(open_and_read) == b"23456"
    assert (blob.readers == [get_ident()]) is in_place


@pytest.mark.parametrize("lazy", [False, True])
def test_a_file_of_unknown_size_is_not_cut_off_at_the_size_it_seems_to_have(lazy: bool) -> None:
    """Lazily it is read past the kernel's memory; else the kernel asks for the size before it reads past it."""

    async def open_both() -> list[tuple[bool, bool]]:
        root = Folder("/", {b"a": Text("/a", b"abc"), b"b": Text("/b", b"abc", known=False)})
        operations = Operations(root, MountOptions(lazy_size=lazy))
        opened = [await operations.open(await find(operations, name), 0, CONTEXT) for name in (b"a", b"b")]
        return [(info.direct_io, info.keep_cache) for info in opened]

    assert call(open_both) == [(False, True), (lazy, not lazy)]


@pytest.mark.parametrize(
    ("error", "number"),
    [(Corrupt("damaged"), errno.EIO), (PermissionError(errno.EACCES, "no"), errno.EACCES)],
)
def test_a_failure_to_open_has_its_errno(error: Exception, number: int) -> None:
    operations = served(a=Failing("/a", error))
    file = call(lambda: find(operations, b"a"))
    assert refused(lambda: operations.open(file, os.O_RDONLY, CONTEXT)) == number


def test_a_read_that_fails_does_not_hurt_the_next() -> None:
    class Damaged(MemoryBlob):
        def try_pread(self, size: int, offset: int) -> bytes:
            if offset:
                raise Corrupt("damaged from the second byte on")
            return super().try_pread(size, offset)

    operations = served(a=Opening("/a", Damaged(b"abc")))
    file = call(lambda: find(operations, b"a"))
    handle = call(lambda: operations.open(file, os.O_RDONLY, CONTEXT)).fh
    assert refused(lambda: operations.read(handle, 1, 1)) == errno.EIO
    assert call(lambda: operations.read(handle, 0, 1)) == b"a"


def test_other_requests_are_answered_while_a_read_waits() -> None:
    released = Event()

    class Slow(MemoryBlob):
        def try_pread(self, size: int, offset: int) -> None:  # type: ignore[override]
            return None

        def pread(self, size: int, offset: int) -> bytes:
            assert released.wait(10)
            return b"late"

    async def read_and_look() -> list[bytes]:
        answers: list[bytes] = []
        operations = served(a=Opening("/a", Slow(b"")), b=Text("/b", b"abc"))
        handle = (await operations.open(await find(operations, b"a"), os.O_RDONLY, CONTEXT)).fh

        async def read() -> None:
            answers.append(await operations.read(handle, 0, 4))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(0.02)
            answers.append(b"%d" % (await operations.lookup(ROOT, b"b", CONTEXT)).st_size)
            released.set()
        return answers

    assert call(read_and_look) == [b"3", b"late"]


def test_releasing_closes_a_file_and_the_end_closes_those_still_open() -> None:
    blobs = [Recorded(b"", in_place=True) for _ in range(2)]

    async def open_both_release_one() -> Operations:
        operations = served(a=Opening("/a", blobs[0]), b=Opening("/b", blobs[1]))
        first, _ = [
            await operations.open(await find(operations, name), os.O_RDONLY, CONTEXT) for name in (b"a", b"b")
        ]
        await operations.release(first.fh)
        return operations

    operations = call(open_both_release_one)
    assert [blob.closed for blob in blobs] == [1, 0]
    operations.close()
    assert [blob.closed for blob in blobs] == [1, 1]
