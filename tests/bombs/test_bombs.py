"""The short form of scripts/bombs: smaller inputs, each with one command, and a tighter limit for memory."""

from pathlib import Path

import pytest

from tests.bombs.commands import MIB, rows
from tests.bombs.databases import DATABASES
from tests.bombs.layers import LAYERS
from tests.bombs.places import PLACES

_PEAK = 300 * MIB

_SHORT = [
    ("user names", 0.05, "find"),
    ("zstd window of 2 GB", 1, "find"),
    ("gzip members", 0.1, "verify"),
    ("long name of 1 GB", 0.01, "index"),
    ("members of one name", 0.004, "find"),
    ("user names", 0.05, "locate"),
    ("stacks of 1,000 layers", 0.05, "ls"),
    ("configs of 4 MB", 0.1, "ls"),
    ("tags", 0.1, "ls"),
    ("a tag of 4 MB", 0.25, "ls"),
    ("tags of many parts", 0.25, "mount"),
    ("nested indexes", 0.2, "ls"),
    ("nested configs", 1, "inspect"),
    ("numbers", 1, "ls"),
    ("index of 500 MB", 1, "ls"),
    ("index nested", 1, "ls"),
    ("pipes and devices", 1, "verify"),
    ("archive names", 0.02, "load"),
    ("archive members", 0.1, "ls"),
    ("archive of a terabyte", 1, "ls"),
    ("archive tags", 0.1, "load"),
    ("tar-split nested", 1, "find"),
    ("tar-split line of 2 GB", 0.03, "find"),
    ("docker's stacks", 0.05, "ls"),
    ("podman's stacks", 0.03, "ls"),
    ("own names", 0.1, "ls"),
    ("containerd's names", 0.1, "ls"),
    ("containerd's namespaces", 0.05, "ls"),
    ("bolt entries of one key", 0.2, "ls"),
    ("bolt branch in a cycle", 1, "ls-all"),
]


@pytest.mark.parametrize(("name", "scale", "command"), _SHORT, ids=[name for name, _, _ in _SHORT])
def test_a_bomb_takes_little_memory_and_time(tmp_path: Path, name: str, scale: float, command: str) -> None:
    source = (LAYERS | PLACES | DATABASES)[name](tmp_path / "x", scale)
    (row,) = rows(name, source, [command], tmp_path)
    assert not row.fault, row
    assert row.took.peak < _PEAK, row
