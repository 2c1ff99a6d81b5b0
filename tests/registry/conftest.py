from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry.hosts import TestHost, connected_hosts


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for programs, the first that is searched."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.fixture
def two_hosts(tmp_path: Path) -> Iterator[tuple[TestHost, TestHost]]:
    """Two hosts, each a network namespace, that reach each other."""
    with connected_hosts(tmp_path) as hosts:
        yield hosts
