"""SQLite databases that are read while they change, are damaged, or are hostile."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.blob import Root
from imgfs.errors import Corrupt, InUse
from imgfs.sources.containers_storage.sqlite import read_rows

QUERY = "SELECT a, b FROM t ORDER BY a"
ROWS = [(b"one", 1), (b"two", 2)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "db")) as database, database:
        database.execute("CREATE TABLE t (a TEXT, b INTEGER)")
        database.execute("INSERT INTO t VALUES ('one', 1), ('two', 2)")
    return tmp_path / "db"


def read(path: Path, query: str = QUERY) -> list[tuple[object, ...]]:
    return [tuple(row) for row in read_rows(Root(path.parent), path.name, query)]


def test_nothing_is_written_or_made(path: Path) -> None:
    os.utime(path, ns=(1, 10**9))
    before = path.stat()
    path.parent.chmod(0o500)
    try:
        assert read(path) == ROWS
    finally:
        path.parent.chmod(0o700)
    after = path.stat()
    assert (after.st_atime_ns, after.st_mtime_ns, after.st_ctime_ns) == (1, 10**9, before.st_ctime_ns)
    assert os.listdir(path.parent) == ["db"]


def test_while_a_transaction_runs_it_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.sources.containers_storage.sqlite._PATIENCE", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA cache_spill = ON")
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN EXCLUSIVE")
        database.executemany("INSERT INTO t VALUES (?, ?)", [("x" * 1000, number) for number in range(100)])
        with pytest.raises(InUse, match="db: its journal has changes that are not in it"):
            read(path)
        database.execute("ROLLBACK")
        assert read(path) == ROWS


def test_what_is_in_a_write_ahead_log_is_not_guessed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.sources.containers_storage.sqlite._PATIENCE", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        assert read(path) == ROWS
        database.execute("DELETE FROM t")
        with pytest.raises(InUse, match="db: its wal has changes that are not in it"):
            read(path)
    assert read(path) == [], "as closing writes the log back"


@pytest.mark.parametrize(
    ("definition", "why"),
    [
        ("DROP TABLE t", "no such table"),
        (
            "ALTER TABLE t RENAME TO u; CREATE VIEW t AS "
            "WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n) SELECT a, count(*) AS b FROM n",
            "not authorized|prohibited",
        ),
    ],
)
def test_a_database_of_another_kind_is_corrupt(path: Path, definition: str, why: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(definition)
    with pytest.raises(Corrupt, match=why):
        read(path)


def test_a_query_that_takes_too_long_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.sources.containers_storage.sqlite._MAX_STEPS", 100_000)
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany("INSERT INTO t VALUES ('x', ?)", [(number,) for number in range(1000)])
    with pytest.raises(Corrupt, match="db: interrupted"):
        read(path, "SELECT one.a, two.b FROM t AS one JOIN t AS two")


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"x" * 5000])
def test_what_is_no_database_is_a_clear_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Corrupt, match="db: not an SQLite database"):
        read(path)


@given(data=st.data())
def test_damage_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE t (a TEXT, b INTEGER)")
        database.execute("INSERT INTO t VALUES ('one', 1), ('two', 2)")
    content = bytearray(path.read_bytes())
    places = st.tuples(st.integers(16, len(content) - 1), st.integers(0, 255))
    for place, value in data.draw(st.lists(places, min_size=1, max_size=5)):
        content[place] = value
    path.write_bytes(content)
    with suppress(Corrupt):
        read(path)
