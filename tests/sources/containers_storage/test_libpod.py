"""What Podman's databases say of containers. Real ones are in `tests.engines`."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imgfs.blob import Root
from imgfs.sources.containers_storage.libpod import PodmanRecord, read_records
from tests.sources.containerd.bolt_files import database_of

Document = dict[str, Any]

CONFIG: Document = {
    "spec": {"process": {"args": ["/bin/sh", "-c", "true"]}},
    "logDriver": "k8s-file",
    "newPortMappings": [
        {"host_ip": "", "container_port": 80, "host_port": 8080, "range": 1, "protocol": "tcp"},
        {"host_ip": "::1", "container_port": 90, "host_port": 9090, "range": 3, "protocol": "udp"},
    ],
}
STATE: Document = {
    "state": 6,
    "startedTime": "2026-01-02T03:04:05Z",
    "finishedTime": "2026-01-02T03:05:05Z",
    "exitCode": 3,
}


def in_bolt(path: Path, config: Document, state: Document, container_id: str = "one") -> None:
    """Record a container as Podman 4 does."""
    (path / "libpod").mkdir(exist_ok=True)
    documents = {b"config": json.dumps(config).encode(), b"state": json.dumps(state).encode()}
    (path / "libpod/bolt_state.db").write_bytes(database_of({b"ctr": {container_id.encode(): documents}}))


def in_sqlite(path: Path, config: Document, state: Document, container_id: str = "one") -> None:
    """Record a container as Podman 5 does."""
    with closing(sqlite3.connect(path / "db.sql")) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS ContainerConfig (ID TEXT, Name TEXT, JSON TEXT)")
        database.execute("CREATE TABLE IF NOT EXISTS ContainerState (ID TEXT, State INTEGER, JSON TEXT)")
        database.execute("INSERT INTO ContainerConfig VALUES (?, 'n', ?)", [container_id, json.dumps(config)])
        database.execute(
            "INSERT INTO ContainerState VALUES (?, 0, ?)", [container_id, json.dumps(state).encode()]
        )


def read(path: Path) -> tuple[dict[str, PodmanRecord], list[str]]:
    problems: list[str] = []
    found = read_records(Root(path), lambda text, **_: problems.append(text))
    return found, problems


@pytest.mark.parametrize("record", [in_bolt, in_sqlite])
def test_what_is_recorded_is_known(
    tmp_path: Path, record: Callable[[Path, Document, Document], None]
) -> None:
    record(tmp_path, CONFIG, STATE)
    found, problems = read(tmp_path)
    assert not problems
    one = found["one"]
    assert (one.state.status, one.state.exit_code) == ("exited", 3)
    assert one.state.finished is not None
    assert one.state.finished.isoformat() == "2026-01-02T03:05:05+00:00"
    assert one.command == ["/bin/sh", "-c", "true"]
    assert one.ports == ["0.0.0.0:8080->80/tcp", "::1:9090-9092->90-92/udp"]
    assert one.has_log_file
    with one.open() as config:
        assert json.loads(config.pread(config.size, 0)) == CONFIG


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (0, "unknown"),
        (1, "created"),
        (2, "created"),
        (3, "running"),
        (4, "exited"),
        (5, "paused"),
        (7, "removing"),
    ],
)
def test_its_state_is_what_podman_ps_says(tmp_path: Path, number: int, status: str) -> None:
    in_sqlite(tmp_path, CONFIG, STATE | {"state": number})
    found, _ = read(tmp_path)
    assert found["one"].state.status == status


def test_one_that_is_mounted_may_change_though_it_does_not_run(tmp_path: Path) -> None:
    in_bolt(tmp_path, CONFIG, STATE)
    in_sqlite(tmp_path, CONFIG, STATE | {"mounted": True}, "two")
    found, _ = read(tmp_path)
    assert not found["one"].state.may_change
    assert found["two"].state.may_change


def test_a_container_in_both_databases_is_as_the_newer_says(tmp_path: Path) -> None:
    in_bolt(tmp_path, CONFIG, STATE)
    in_sqlite(tmp_path, CONFIG, STATE | {"exitCode": 4})
    found, _ = read(tmp_path)
    assert found["one"].state.exit_code == 4


def test_the_journal_of_systemd_is_no_log_file(tmp_path: Path) -> None:
    in_sqlite(tmp_path, CONFIG | {"logDriver": "journald"}, STATE)
    found, _ = read(tmp_path)
    assert not found["one"].has_log_file


def test_of_a_damaged_database_the_states_are_unknown(tmp_path: Path) -> None:
    in_bolt(tmp_path, CONFIG, STATE)
    (tmp_path / "db.sql").write_bytes(b"x" * 1000)
    found, problems = read(tmp_path)
    assert found.keys() == {"one"}
    assert problems == [f"the states of containers are not known: {tmp_path}/db.sql: not an SQLite database"]
