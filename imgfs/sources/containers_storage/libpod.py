"""What Podman itself records of containers, in its database in the graph root.

    libpod/bolt_state.db   of Podman 4: buckets ctr/<id>, with the JSON documents `config` and `state`
    db.sql                 of Podman 5: tables ContainerConfig and ContainerState, with the same documents

An engine that is killed leaves a container recorded as running.

Format: containers/podman, libpod/boltdb_state.go, sqlite_state.go, container_config.go, define/containerstate.go.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from imgfs.blob import Blob, MemoryBlob, Root
from imgfs.errors import ImgfsError, describe
from imgfs.go_json import parse_json
from imgfs.sources.container import ContainerState
from imgfs.sources.containerd.bolt import Bucket, read_bolt
from imgfs.sources.containers_storage.sqlite import read_rows
from imgfs.sources.finder import Report
from imgfs.sources.runtime_spec import RuntimeSpec
from imgfs.store import KeptDocument
from imgfs.store.timestamp import parse_time

_BOLT, _SQLITE = "libpod/bolt_state.db", "db.sql"
DATABASES = (_SQLITE, _BOLT)
"""The names of the databases; a container in both is as the first says."""

_QUERY = """
SELECT ContainerConfig.ID, ContainerConfig.JSON, ContainerState.JSON
FROM ContainerConfig JOIN ContainerState ON ContainerConfig.ID = ContainerState.ID
"""
_STATUSES = {
    1: "created",  # configured: podman ps says created
    2: "created",
    3: "running",
    4: "exited",  # stopped
    5: "paused",
    6: "exited",
    7: "removing",
    8: "running",  # stopping
}
_ANY = "0.0.0.0"  # noqa: S104  # what is printed, and bound by no one
_FILE_LOGS = ("k8s-file", "json-file", "")


class _Port(msgspec.Struct):
    container_port: int = 0
    host_port: int = 0
    host_ip: str = ""
    protocol: str = ""
    range: int = 1


class _Config(msgspec.Struct, rename="camel"):
    spec: RuntimeSpec | None = None
    log_driver: str = ""
    new_port_mappings: list[_Port] | None = None


class _State(msgspec.Struct, rename="camel"):
    state: int = 0
    mounted: bool = False
    started_time: str = ""
    finished_time: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class PodmanRecord:
    """What Podman records of a container; `config` is its configuration."""

    state: ContainerState
    command: Sequence[str]
    ports: Sequence[str]
    has_log_file: bool
    config: KeptDocument

    def open(self) -> Blob:
        """The configuration as Podman keeps it."""
        return MemoryBlob(self.config.read())


def read_records(root: Root, report: Report) -> dict[str, PodmanRecord]:
    """The record of each container, by its ID; what cannot be read is reported."""
    found: dict[str, PodmanRecord] = {}
    for name, read in ((_SQLITE, _read_sqlite), (_BOLT, _read_bolt)):
        if not root.exists(name):
            continue
        try:
            for container_id, config, state in read(root):
                if container_id not in found:
                    found[container_id] = _record(config, state, root.path_of(name))
        except (ImgfsError, OSError) as error:
            report(f"the states of containers are not known: {describe(error)}")
    return found


def _read_sqlite(root: Root) -> Iterator[tuple[str, bytes, bytes]]:
    for row in read_rows(root, _SQLITE, _QUERY):
        container_id, config, state = (each if isinstance(each, bytes) else b"" for each in row)
        yield container_id.decode("utf-8", "replace"), config, state


def _read_bolt(root: Root) -> list[tuple[str, bytes, bytes]]:
    return read_bolt(lambda: root.open(_BOLT), _containers)


def _containers(top: Bucket) -> list[tuple[str, bytes, bytes]]:
    containers = top.bucket(b"ctr")
    return [
        (container_id.decode("utf-8", "replace"), config, state)
        for container_id, bucket in (containers.buckets() if containers is not None else ())
        if (config := bucket.get(b"config")) is not None and (state := bucket.get(b"state")) is not None
    ]


def _record(config: bytes, state: bytes, name: str) -> PodmanRecord:
    """Raises InvalidImage."""
    made, now = parse_json(config, _Config, name), parse_json(state, _State, name)
    status = _STATUSES.get(now.state, "unknown")
    started, finished = parse_time(now.started_time), parse_time(now.finished_time)
    return PodmanRecord(
        ContainerState(
            status, now.exit_code if status == "exited" else None, started, finished, is_mounted=now.mounted
        ),
        made.spec.command if made.spec is not None else (),
        [_port(port) for port in made.new_port_mappings or ()],
        made.log_driver in _FILE_LOGS,
        KeptDocument.alone(config),
    )


def _port(port: _Port) -> str:
    """As podman ps prints it."""
    inside, outside = (_range(first, port.range) for first in (port.container_port, port.host_port))
    return f"{port.host_ip or _ANY}:{outside}->{inside}/{port.protocol or 'tcp'}"


def _range(first: int, count: int) -> str:
    return f"{first}-{first + count - 1}" if count > 1 else f"{first}"
