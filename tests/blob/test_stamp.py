"""Stamps of files and of their modification times."""

import os
import time
from pathlib import Path

from imgfs.blob import Root
from imgfs.blob.stamp import FileStamp, recently_modified

YEAR_NS = 365 * 86_400 * 10**9


def test_times_are_recent_only_near_the_time_now() -> None:
    now = time.time_ns()
    assert recently_modified([now - YEAR_NS, now + YEAR_NS]) == 0
    assert recently_modified([]) == 0
    assert recently_modified([now - YEAR_NS, now, now + YEAR_NS], YEAR_NS // 2) >= now


def test_a_stamp_is_recent_until_every_file_system_would_show_another_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    stamp = FileStamp.of((tmp_path / "file").stat())
    assert stamp.is_recent
    assert not stamp._replace(ctime_ns=stamp.ctime_ns - 3 * 10**9).is_recent


def test_a_stamp_of_files_stays_until_one_changes_or_goes(tmp_path: Path) -> None:
    root, names = Root(tmp_path), ["one", "two", "none/such"]
    for name in names[:2]:
        (tmp_path / name).write_bytes(b"data")
        os.utime(tmp_path / name, (1, 1))
    before = root.stamp(names)
    assert root.stamp(names) == before
    os.utime(tmp_path / "two", (2, 2))
    changed = root.stamp(names)
    assert changed != before
    (tmp_path / "one").unlink()
    assert root.stamp(names) not in (before, changed)


def test_a_stamp_of_files_differs_each_time_while_one_is_recent(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    os.utime(tmp_path / "file", (time.time() + 5,) * 2)
    minute = 60 * 10**9
    assert Root(tmp_path).stamp(["file"], minute) != Root(tmp_path).stamp(["file"], minute)
