"""Why a mount cannot be unmounted."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgfs.mount import MountBusy, umount, unmount
from imgfs.mount.holders import Holder
from imgfs.mount.table import MountEntry
from tests.mount.serving import served
from tests.tools import require_root

WAYS = {
    "working directory {top}/deep": "os.chdir(top + '/deep')",
    "root directory {top}/deep": "os.chroot(top + '/deep')",
    "{top}/text": "file = open(top + '/text')",
    "{top}/wide/file-000007": "import mmap; file = open(top + '/wide/file-000007'); "
    "pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ); fd = file.fileno(); os.close(fd)",
}


@contextmanager
def user(top: Path, way: str) -> Iterator[int]:
    """A process that uses the mount at `top`; yields its PID."""
    program = (
        f"import os, sys; top = sys.argv[1]; {way}; print('ready', flush=True); os.read(0, 1); os._exit(0)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(top)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.stdin.close()


@pytest.mark.parametrize("use", WAYS)
def test_a_busy_mount_says_who_uses_it_and_how(
    tmp_path: Path, use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "root" in use:
        require_root()
    with served(tmp_path) as process:
        with user(tmp_path, WAYS[use]) as pid, pytest.raises(MountBusy) as caught:
            monkeypatch.chdir(tmp_path)  # which the user knows
            unmount(str(tmp_path))
        monkeypatch.chdir("/")
        used = f"{tmp_path}: used by {Path(sys.executable).name} (PID {pid}): {use.format(top=tmp_path)}"
        assert [reason for reason in caught.value.reasons if "other users" not in reason] == [used]
        unmount(str(tmp_path))
        assert process.wait(60) == 0


def test_a_process_with_many_files_is_named_once(tmp_path: Path) -> None:
    with served(tmp_path):
        way = "files = [open(f'{top}/wide/file-{number:06}') for number in range(5)]"
        with user(tmp_path, way) as pid, pytest.raises(MountBusy) as caught:
            unmount(str(tmp_path))
        assert f"(PID {pid})" in caught.value.reasons[0]
        assert caught.value.reasons[0].endswith("and 4 more")


def test_what_is_mounted_below_is_named(tmp_path: Path) -> None:
    require_root()
    with served(tmp_path):
        subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "empty"], check=True)
        try:
            with pytest.raises(MountBusy) as caught:
                unmount(str(tmp_path))
        finally:
            subprocess.run(["umount", tmp_path / "empty"], check=True)
        assert f"{tmp_path}: {tmp_path}/empty is mounted below" in caught.value.reasons


def test_that_processes_of_others_cannot_be_seen_is_said(tmp_path: Path) -> None:
    require_root()
    folder = tmp_path / "held"
    folder.mkdir()
    with served(folder), user(folder, "os.chdir(top)"):
        program = (
            "import sys; from imgfs.mount.holders import holders; from imgfs.mount.table import mounted_at; "
            "import os; entry = mounted_at(sys.argv[1]); os.setuid(65534); print(holders(entry))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, folder], capture_output=True, text=True, check=True
        )
    found, _, hidden = done.stdout.rpartition(", ")
    assert found == "([]"
    assert int(hidden.rstrip(")\n")) > 1


@pytest.mark.parametrize(
    ("user", "found", "hidden", "said"),
    [
        (1000, [], 2, ["2 processes of other users cannot be looked into (root can)"]),
        (1000, [], 1, ["1 process of other users cannot be looked into (root can)"]),
        (1000, [Holder(7, "sh", ["a"])], 1, ["used by sh (PID 7): a"]),
        (0, [], 1, []),
    ],
)
def test_processes_that_may_not_be_looked_into_count_where_no_other_is_found(
    monkeypatch: pytest.MonkeyPatch, user: int, found: list[Holder], hidden: int, said: list[str]
) -> None:
    monkeypatch.setattr(umount, "holders", lambda _: (found, hidden))
    monkeypatch.setattr(umount, "mounted_below", lambda _: [])
    monkeypatch.setattr(os, "geteuid", lambda: user)
    entry = MountEntry.__new__(MountEntry)
    assert MountBusy("/m", entry).reasons == [f"/m: {line}" for line in said]
