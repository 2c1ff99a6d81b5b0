import os
import stat

import pytest

from imgfs.mount import MountOptions
from imgfs.mount.attributes import Attributes
from imgfs.view import Node
from tests.mount.trees import Folder, Link, Text

ATTRIBUTES = Attributes(MountOptions(uid=7, gid=8))


@pytest.mark.parametrize(
    ("node", "mode"),
    [
        (Folder("/d", {}), stat.S_IFDIR | 0o555),
        (Text("/f", b"abc"), stat.S_IFREG | 0o444),
        (Link("/l", b"f"), stat.S_IFLNK | 0o777),
    ],
)
def test_each_kind_of_node_is_readable_and_not_writable(node: Node, mode: int) -> None:
    entry = ATTRIBUTES.of(node, 42, 0)
    assert entry.st_mode == mode
    assert (entry.st_ino, entry.st_uid, entry.st_gid) == (42, 7, 8)


def test_owners_are_those_chosen_else_those_recorded_else_the_user_who_mounts() -> None:
    recorded = Text("/f", b"")
    recorded.uid, recorded.gid = 5, 0
    for options, owners in (
        (MountOptions(), [(5, 0), (os.getuid(), os.getgid())]),
        (MountOptions(uid=0), [(0, 0), (0, os.getgid())]),
        (MountOptions(gid=9), [(5, 9), (os.getuid(), 9)]),
    ):
        entries = [Attributes(options).of(node, 2, 0) for node in (recorded, Text("/g", b""))]
        assert [(entry.st_uid, entry.st_gid) for entry in entries] == owners


def test_links_and_devices_are_those_of_the_node() -> None:
    node = Text("/f", b"")
    node.links, node.device, node.mode = 3, os.makedev(8, 1), stat.S_IFBLK | 0o640
    entry = ATTRIBUTES.of(node, 2, 0)
    assert (entry.st_nlink, entry.st_rdev, entry.st_mode) == (3, os.makedev(8, 1), stat.S_IFBLK | 0o640)


def test_the_umask_takes_permissions_away() -> None:
    entry = Attributes(MountOptions(umask=0o027)).of(Folder("/d", {}), 2, 0)
    assert stat.S_IMODE(entry.st_mode) == 0o550


def test_a_size_is_in_bytes_and_blocks_of_512() -> None:
    for size, blocks in ((0, 0), (1, 1), (512, 1), (513, 2), (1 << 40, 1 << 31)):
        entry = ATTRIBUTES.of(Text("/f", b""), 2, size)
        assert (entry.st_size, entry.st_blocks) == (size, blocks)


def test_an_unknown_size_is_0_and_not_kept() -> None:
    entry = ATTRIBUTES.of(Text("/f", b"abc", known=False), 2, None)
    assert (entry.st_size, entry.attr_timeout) == (0, 0)


def test_what_cannot_change_may_be_kept_for_long() -> None:
    entry = ATTRIBUTES.of(Text("/f", b"abc"), 2, 3)
    assert entry.attr_timeout > 3600
    assert entry.entry_timeout > 3600


def test_what_may_change_is_asked_for_again() -> None:
    assert ATTRIBUTES.of(Folder("/d", {}, mutable=True), 2, 0).attr_timeout == 0
    node = Text("/f", b"abc")
    node.name_may_change = True
    assert ATTRIBUTES.of(node, 2, 3).entry_timeout == 0


@pytest.mark.parametrize("seconds", [-60_000_000_000, -1, 0, 1, 253_402_300_799])
def test_times_are_exact_from_antiquity_to_the_end_of_the_calendar(seconds: int) -> None:
    node = Text("/f", b"")
    node.mtime_ns = seconds * 1_000_000_000 + 5
    entry = ATTRIBUTES.of(node, 2, 0)
    assert entry.st_mtime_ns == entry.st_ctime_ns == entry.st_atime_ns == node.mtime_ns
