"""What is kept of stores, and when it counts."""

import os
import time
from pathlib import Path

import pytest

from imgfs.cache import Cache
from imgfs.locate.machine import Machine, Root, keep_machine, key_of, load_machine, stamps_of


@pytest.fixture
def kept(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"), 1 << 20)


def machine(watched: list[str]) -> Machine:
    return Machine(
        [b"k" * 32], ["sha256:x"], [(0,)], [Root("id", ["a:1"], 0, False)], [0], stamps_of(watched), {}
    )


def test_it_counts_until_something_watched_changes(kept: Cache, tmp_path: Path) -> None:
    there, absent, key = tmp_path / "there", tmp_path / "absent", key_of(["oci:x"], None)
    there.touch()
    time.sleep(0.1)
    found = machine([str(there), str(absent)])
    keep_machine(kept, key, found)
    assert load_machine(kept, key) == found
    assert found.is_current
    absent.touch()
    assert not found.is_current
    absent.unlink()
    assert found.is_current
    there.write_text("x")
    assert not found.is_current


def test_it_is_not_kept_while_a_change_could_have_been_missed(kept: Cache, tmp_path: Path) -> None:
    path, key = tmp_path / "new", key_of([], None)
    path.touch()
    keep_machine(kept, key, machine([str(path)]))
    assert load_machine(kept, key) is None


def test_what_is_damaged_is_not_found(kept: Cache) -> None:
    key = key_of([], None)
    keep_machine(kept, key, machine([]))
    assert load_machine(kept, key) is not None
    (path,) = (path for path in (Path(kept.folder) / "1").iterdir() if path.suffix == ".machine")
    data = path.read_bytes()
    for damaged in (b"", data[:40], data[:-1] + bytes([data[-1] ^ 1])):
        path.write_bytes(damaged)
        assert load_machine(kept, key) is None


def test_what_is_asked_for_and_where_stores_are_looked_for_count(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {key_of([], None), key_of(["oci:x"], None), key_of([], "x")}
    monkeypatch.setenv("XDG_DATA_HOME", os.devnull)
    assert len(keys | {key_of([], None)}) == 4
