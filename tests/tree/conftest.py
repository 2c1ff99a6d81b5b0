"""Fixtures of the tests that compare trees with what the kernel shows."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools import require_root


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory, on which overlayfs can be mounted whatever the machine's own file system is."""
    require_root()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        yield Path(folder)
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the kernel mounts images from, as it does not from tmpfs."""
    require_root()
    return tmp_path_factory.mktemp("disk")
