"""What a container changed, as moby compares directories; tests/engines compares that with docker diff itself."""

import tarfile

import pytest

from imgfs.rootfs import drift
from tests.rootfs.roots import root_fs
from tests.tree.stacks import Entry, tar

FILE, DIRECTORY, SYMLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE
IMAGE = [
    Entry("dir", DIRECTORY, mode=0o755),
    Entry("dir/deep", DIRECTORY, mode=0o755),
    Entry("dir/deep/a", FILE, "one"),
    Entry("dir-", FILE, "sorts after what is in dir"),
    Entry("f", FILE, "text", mtime=1000, fraction="500000000"),
]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([Entry("f", FILE, "text", mtime=1000, fraction="500000000")], []),
        ([Entry("f", FILE, "teXt", mtime=1000, fraction="500000000")], []),  # as docker diff does not see it
        ([Entry("f", FILE, "text", mtime=1000)], []),
        ([Entry("f", FILE, "text", mtime=1000, fraction="400000000")], ["changed /f time"]),
        ([Entry("f", FILE, "longer", mtime=1000)], ["changed /f size"]),
        ([Entry("f", FILE, "text", mode=0o600, owner=7, mtime=1000)], ["changed /f mode owner"]),
        ([Entry("f", SYMLINK, "text", mode=0o777, mtime=1000)], ["changed /f type"]),
        ([Entry("f", DIRECTORY), Entry("f/x", FILE)], ["changed /f type", "added /f/x "]),
        ([Entry("dir", FILE, mtime=1)], ["changed /dir type time"]),
        ([Entry(".wh.dir", FILE)], ["removed /dir "]),
        ([Entry("dir", DIRECTORY, mode=0o755, mtime=5)], []),
        ([Entry("dir/deep/.wh.a", FILE)], ["changed /dir ", "changed /dir/deep ", "removed /dir/deep/a "]),
        (
            [Entry("dir", DIRECTORY, mode=0o700), Entry("dir/deep/b", FILE), Entry("dir-", FILE, mtime=5)],
            ["changed /dir mode", "changed /dir/deep ", "added /dir/deep/b ", "changed /dir- size time"],
        ),
        ([Entry("new/a", FILE), Entry("new/b", FILE)], ["added /new ", "added /new/a ", "added /new/b "]),
    ],
)
def test_what_has_changed_by_its_metadata_is_listed(changes: list[Entry], expected: list[str]) -> None:
    found = drift(root_fs(tar(IMAGE)), root_fs(tar(IMAGE), tar(changes)))
    assert [f"{each.change} {each.path} {' '.join(each.differs)}" for each in found] == expected


def test_what_is_on_both_sides_is_known() -> None:
    above, changed = drift(
        root_fs(tar(IMAGE)), root_fs(tar(IMAGE), tar([Entry("dir/deep", DIRECTORY, mode=0o700)]))
    )
    assert (above.path, changed.path) == ("/dir", "/dir/deep")
    assert above.before and above.after and above.before.mode == above.after.mode
    assert changed.before and changed.after
    assert (changed.before.mode & 0o777, changed.after.mode & 0o777) == (0o755, 0o700)
