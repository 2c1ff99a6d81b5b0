"""Entries of directories, sent in pieces that have as much room as the kernel has."""

from collections.abc import Iterator

import pyfuse3
import pytest

from imgfs.errors import Corrupt
from imgfs.mount import MountOptions
from imgfs.mount.attributes import Attributes
from imgfs.mount.inodes import Inodes
from imgfs.mount.listing import Listing, listing
from imgfs.view import Directory, Listed, Node, TableDirectory
from tests.mount.trees import Folder, Table, Text

TOKEN = pyfuse3.ReaddirToken()


class Rows(TableDirectory):
    """The top of a table that lists its files without making their nodes."""

    parent = count = number = 0

    def __init__(self, table: Table, count: int) -> None:
        self.key = table.key
        self.table = table
        self.count = count

    def lookup(self, name: bytes) -> Node | None:
        return None

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        raise AssertionError("a node was made for each entry")

    def listed(self, start: int, stop: int) -> Iterator[Listed]:
        for number in range(start + 1, min(stop, self.count) + 1):
            yield b"%d" % number, number, 0o100444, 1, 0, 0, 0, number, 0


class Kernel:
    """Takes entries while it has room: name, inode number, size, and for how long the name holds."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, int, int, float]] = []
        self.room = 1 << 30

    def reply(self, token: object, name: bytes, entry: pyfuse3.EntryAttributes, position: int) -> bool:
        if self.room == 0:
            return False
        self.room -= 1
        self.sent.append((name, entry.st_ino, entry.st_size, entry.entry_timeout))
        assert position == len(self.sent)
        return True

    def names(self, of: Listing, room: int) -> list[bytes]:
        """All names of a listing, asked for until there are no more, with room for so many at a time."""
        before = -1
        while len(self.sent) > before:
            before, self.room = len(self.sent), room
            of.reply(before, TOKEN)
        return [name for name, *_ in self.sent]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    fake = Kernel()
    monkeypatch.setattr(pyfuse3, "readdir_reply", fake.reply)
    return fake


def made(directory: Directory) -> tuple[Inodes, Listing]:
    inodes = Inodes(Folder("/", {}))
    return inodes, listing(directory, inodes, Attributes(MountOptions()))


@pytest.mark.parametrize("room", [1, 3, 7, 100])
def test_a_listing_goes_on_where_the_room_ended(kernel: Kernel, room: int) -> None:
    folder = Folder("/d", {b"%d" % number: Text(f"/{number}", b"x" * number) for number in range(1, 6)})
    inodes, entries = made(folder)
    assert kernel.names(entries, room) == [b".", b"..", b"1", b"2", b"3", b"4", b"5"]
    assert [size for _, _, size, _ in kernel.sent[2:]] == [1, 2, 3, 4, 5]
    assert len(inodes) == 1 + 5, "and not the folder itself, for `.` and `..`"


@pytest.mark.parametrize("room", [1, 3, 1500])
def test_a_table_is_listed_with_the_numbers_of_its_nodes(kernel: Kernel, room: int) -> None:
    table, count = Table("/t", 2501), 2500 if room > 100 else 20
    inodes, entries = made(Rows(table, count))
    names = kernel.names(entries, room)
    assert names == [b".", b"..", *(b"%d" % number for number in range(1, count + 1))]
    table.load()
    assert [number for _, number, _, _ in kernel.sent[2:]] == [
        inodes.number(node) for node in table.nodes[1 : count + 1]
    ]
    inodes.forget(kernel.sent[-1][1], count - 1)
    assert len(inodes) == 2, "the kernel has a reference for each entry that it was sent"
    inodes.forget(kernel.sent[-1][1], 1)
    assert len(inodes) == 1


def test_a_position_behind_the_end_sends_nothing(kernel: Kernel) -> None:
    for directory in (Folder("/d", {}), Rows(Table("/t", 1), 0)):
        made(directory)[1].reply(2, TOKEN)
    assert kernel.sent == []


@pytest.mark.parametrize("may_change", [False, True])
def test_names_that_may_change_are_not_kept(kernel: Kernel, may_change: bool) -> None:
    node = Text("/a", b"")
    node.name_may_change = may_change
    made(Folder("/d", {b"a": node}))[1].reply(0, TOKEN)
    assert (kernel.sent[2][3] == 0) is may_change


def test_what_is_added_later_is_not_in_a_listing_that_is_open(kernel: Kernel) -> None:
    folder = Folder("/d", {b"a": Text("/a", b"")})
    _, entries = made(folder)
    folder.children[b"b"] = Text("/b", b"")
    assert kernel.names(entries, 100) == [b".", b"..", b"a"]


def test_what_is_gone_or_another_by_now_is_not_sent_as_it_was(kernel: Kernel) -> None:
    folder = Folder("/d", {name: Text(f"/{name.decode()}", b"old") for name in (b"a", b"b", b"c")})
    inodes, entries = made(folder)
    kernel.room = 3
    entries.reply(0, TOKEN)
    folder.children[b"c"] = Text("/c", b"newer")
    del folder.children[b"b"]
    entries.outdated = True
    kernel.sent.append((b"the place of b", 0, 0, 0.0))
    kernel.room = 100
    entries.reply(3, TOKEN)
    assert [(name, size) for name, _, size, _ in kernel.sent[4:]] == [(b"c", 5)]
    node = inodes[kernel.sent[-1][1]]
    assert isinstance(node, Text)
    assert node.content == b"newer"


def test_a_directory_that_cannot_be_listed_says_so_at_once() -> None:
    class Damaged(Folder):
        def entries(self) -> Iterator[tuple[bytes, Node]]:
            raise Corrupt("damaged")

    with pytest.raises(Corrupt):
        made(Damaged("/d", {}))
