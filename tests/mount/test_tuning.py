"""What a mount sets in the process and in the kernel."""

import gc
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pyfuse3
import pytest

from imgfs.mount import tuning
from imgfs.mount.mount_api import new_mount
from tests.mount.serving import served
from tests.tools import require_root


def test_the_process_is_as_before_once_the_mount_ends() -> None:
    frozen, loop = gc.get_freeze_count(), pyfuse3.trio  # type: ignore[attr-defined]
    with suppress(ValueError), tuning.tuned_process():
        assert gc.get_freeze_count() > frozen
        assert pyfuse3.trio is not loop  # type: ignore[attr-defined]
        raise ValueError
    assert gc.get_freeze_count() == 0
    assert pyfuse3.trio is loop  # type: ignore[attr-defined]


def test_buffers_of_reads_use_memory_that_was_freed_before(tmp_path: Path) -> None:
    """Fresh memory is cleared by the kernel page by page: 256 faults for a read of 1 MiB."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(4 << 20))
    code = f"""
import resource
from imgfs.blob import FileBlob
from imgfs.mount.tuning import tuned_process
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
with tuned_process(), FileBlob({str(path)!r}) as blob:
    def read(times):
        for number in range(times):
            pieces = [blob.try_pread(1 << 20, place << 20) for place in range(4)]
            assert sum(map(len, pieces)) == 4 << 20
    read(4)
    before = faults()
    read(25)
    print(faults() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 1000


def test_importing_the_package_changes_nothing_of_the_process() -> None:
    code = """
import gc, resource, sys, threading
import pyfuse3, trio
def state():
    return (pyfuse3.trio, gc.get_freeze_count(), gc.get_threshold(), sys.getswitchinterval(), threading.stack_size(),
            resource.getrlimit(resource.RLIMIT_NOFILE), sys.getrecursionlimit())
before = state()
import imgfs.cli.main, imgfs.mount.operations, imgfs.mount.session
assert state() == before, (before, state())
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_root_has_the_kernel_read_ahead_and_send_more_at_a_time(tmp_path: Path) -> None:
    """Where the control file system is not mounted as well: it is reached by a descriptor."""
    require_root()
    with served(tmp_path):
        device = os.stat(tmp_path).st_dev
        read_ahead = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
        top = new_mount("fusectl")
        try:
            fd = os.open(f"{os.minor(device)}/max_background", os.O_RDONLY, dir_fd=top)
            background = int(os.read(fd, 20))
            os.close(fd)
        finally:
            os.close(top)
        assert (int(read_ahead.read_text()), background) == (1024, 65_535)


def test_what_this_user_may_not_set_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is a reason not to mount."""
    tried: list[str] = []

    def refused(path: str, value: int, directory: int | None = None) -> None:
        tried.append(path)
        raise PermissionError

    monkeypatch.setattr(tuning, "_write", refused)
    tuning.raise_limits(str(tmp_path))
    assert [path.rpartition("/")[2] for path in tried] == ["read_ahead_kb", "max_background"]


def test_memory_that_a_thread_has_freed_goes_back_to_the_system() -> None:
    """Of many small pieces, the last of which is kept, so that the C library keeps all their room."""
    script = """
import os
from threading import Thread
from imgfs.mount.tuning import release_freed_memory
kept = []
def work():
    pieces = [bytes(1000) for _ in range(100_000)]
    kept.append(pieces.pop())
thread = Thread(target=work)
thread.start()
thread.join()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = resident()
release_freed_memory()
print(before - resident())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert int(done.stdout) > 50_000_000
