import os
import stat

import pytest

from imgfs.mount import MountOptions
from imgfs.mount.attributes import Attributes
from imgfs.view import Node
from tests.mount.trees import Folder, Link, Text

OPTIONS = MountOptions(uid=7, gid=8)


@pytest.mark.parametrize(
    ("node", "mode"),
    [
        (Folder("/d", {}), stat.S_IFDIR | 0o555),
        (Text("/f", b"abc"), stat.S_IFREG | 0o444),
        (Link("/l", b"f"), stat.S_IFLNK | 0o777),
    ],
)
def test_each_kind_of_node_is_readable_and_nobodys_to_write(node: Node, mode: int) -> None:
    entry = Attributes(OPTIONS).of(node, 42, 0)
    assert entry.st_mode == mode
    assert (entry.st_ino, entry.st_uid, entry.st_gid) == (42, 7, 8)


def test_the_umask_takes_permissions_away() -> None:
    entry = Attributes(MountOptions(umask=0o027)).of(Folder("/d", {}), 2, 0)
    assert stat.S_IMODE(entry.st_mode) == 0o550


def test_a_size_is_told_in_bytes_and_blocks_of_512() -> None:
    for size, blocks in ((0, 0), (1, 1), (512, 1), (513, 2), (1 << 40, 1 << 31)):
        entry = Attributes(OPTIONS).of(Text("/f", b""), 2, size)
        assert (entry.st_size, entry.st_blocks) == (size, blocks)


def test_an_unknown_size_is_0_and_not_to_be_believed() -> None:
    entry = Attributes(OPTIONS).of(Text("/f", b"abc", known=False), 2, None)
    assert (entry.st_size, entry.attr_timeout) == (0, 0)


def test_what_cannot_change_may_be_believed_for_long() -> None:
    entry = Attributes(OPTIONS).of(Text("/f", b"abc"), 2, 3)
    assert entry.attr_timeout > 3600
    assert entry.entry_timeout > 3600


def test_what_may_change_is_asked_for_again() -> None:
    assert Attributes(OPTIONS).of(Folder("/d", {}, mutable=True), 2, 0).attr_timeout == 0
    assert Attributes(OPTIONS).of(Text("/f", b"abc"), 2, 3, fleeting=True).entry_timeout == 0


@pytest.mark.parametrize("seconds", [-60_000_000_000, -1, 0, 1, 253_402_300_799])
def test_times_are_exact_from_antiquity_to_the_end_of_the_calendar(seconds: int) -> None:
    node = Text("/f", b"")
    node.mtime_ns = seconds * 1_000_000_000 + 5
    entry = Attributes(OPTIONS).of(node, 2, 0)
    assert entry.st_mtime_ns == entry.st_ctime_ns == entry.st_atime_ns == node.mtime_ns


def test_an_owner_chosen_wins_over_the_one_recorded_and_that_over_whoever_mounts() -> None:
    recorded = Text("/f", b"")
    recorded.uid, recorded.gid = 5, 6
    for options, node, owner in (
        (MountOptions(uid=7, gid=8), recorded, (7, 8)),
        (MountOptions(), recorded, (5, 6)),
        (MountOptions(), Text("/f", b""), (os.getuid(), os.getgid())),
    ):
        entry = Attributes(options).of(node, 2, 0)
        assert (entry.st_uid, entry.st_gid) == owner
