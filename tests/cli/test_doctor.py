"""What `imgfs doctor` says where things work and where they do not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.tools import require_tool


def _line(output: bytes, *words: str) -> str:
    (line,) = (line for line in output.decode().splitlines() if all(word in line for word in words))
    return line.strip()


def test_where_mounting_works_the_status_is_zero(imgfs: Imgfs, tmp_path: Path, archive: Path) -> None:
    output = imgfs("doctor").stdout
    assert _line(output, " imgfs:").startswith("none")
    assert not (tmp_path / "data/imgfs").exists()
    assert _line(output, "was mounted").startswith("ok")
    assert _line(output, str(tmp_path / "cache/imgfs")).startswith("ok")
    imgfs("load", archive)
    assert _line(imgfs("doctor").stdout, " imgfs:") == f"ok     imgfs:{tmp_path / 'data/imgfs'}: 3 images"
    assert not [name for name in os.listdir("/tmp") if name.startswith("imgfs-doctor-")]


def test_a_broken_store_is_told_and_does_not_matter(imgfs: Imgfs, tmp_path: Path) -> None:
    store = tmp_path / "data/imgfs"
    store.mkdir(parents=True)
    (store / "imgfs-store").write_text("99\n")
    line = _line(imgfs("doctor").stdout, " imgfs:")
    assert line.startswith("FAILS")
    assert "unknown version" in line


def test_a_cache_that_cannot_be_written_is_told(imgfs: Imgfs, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert _line(imgfs("doctor").stdout, str(tmp_path / "cache/imgfs")).startswith("FAILS")


def test_without_a_device_it_says_what_to_do(environment: None) -> None:
    """In a mount namespace of its own, in which /dev/fuse is no FUSE device."""
    command = [require_tool("unshare"), "-m", "sh", "-c"]
    script = f'mount --bind /dev/full /dev/fuse && exec "{sys.executable}" -m imgfs doctor'
    done = subprocess.run([*command, script], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"FAILS" in done.stdout
    assert b"--device /dev/fuse" in done.stdout
    assert b"Traceback" not in done.stderr


def test_without_libfuse_all_but_mounting_works(
    imgfs: Imgfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/pyfuse3.py").write_text('raise ImportError("libfuse3.so.3: cannot open")')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    output = imgfs("doctor", status=1).stdout
    assert _line(output, "libfuse3.so.3").startswith("FAILS")
    assert b"apt install fuse3" in output
    assert b"dnf install fuse3" in output
    imgfs("ls")
    stderr = imgfs("mount", "imgfs:", tmp_path, status=32).stderr
    assert stderr.count(b"\n") == 1
    assert b"libfuse3.so.3" in stderr
