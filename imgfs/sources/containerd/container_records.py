"""What containerd records of containers, in its database and beside it.

Format: containerd, core/metadata/containers.go: buckets `v1/<namespace>/containers/<id>` hold `image`, a name,
`labels`, `snapshotter`, `snapshotKey`, `createdat`, a time of Go's `MarshalBinary`, and `spec`, a google.protobuf.Any
whose value is the container's config.json of the OCI runtime specification. A container without `snapshotKey` is one
whose files its client keeps by other means, as Docker does.

In which state a container is, containerd knows while it runs, and does not record. The plug-in for Kubernetes does, in
`io.containerd.grpc.v1.cri/containers/<id>/status` (internal/cri/store/container/status.go). Of others, a container that
has no directory `io.containerd.runtime.v2.task/<namespace>/<id>` has no task, as before it is started and after it has
ended and that was deleted; nerdctl calls both "created". One that has such a directory runs, has ended, or was running
when its machine stopped: that is unknown.
Tried by the tests of `containers`.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from imgfs.blob import Blob, MemoryBlob, Root
from imgfs.errors import Corrupt, ImgfsError
from imgfs.go_json import parse_json
from imgfs.sources.container import Container, ContainerState
from imgfs.sources.containerd.bolt import Bucket
from imgfs.sources.containerd.containers import Recorded, SnapshotKey
from imgfs.sources.containerd.snapshots import varint
from imgfs.sources.finder import Report
from imgfs.sources.runtime_spec import RuntimeSpec
from imgfs.store import KeptDocument

_NAMES = ("nerdctl/name", "io.kubernetes.container.name", "io.kubernetes.pod.name")  # labels
_STATUS = "io.containerd.grpc.v1.cri/containers/{1}/status"
_TASK_FOLDER = "io.containerd.runtime.v2.task/{}"
_TASK = _TASK_FOLDER + "/{}"
_KUBERNETES = "k8s.io"  # the namespace of its plug-in
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_MAX_STATUS = 64 << 10
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_TIME, _TIME_VERSIONS = struct.Struct(">Bqi"), (1, 2)
_BYTES, _VALUE = 2, 2  # a type on the wire, and the number of a field


class _Status(msgspec.Struct, rename="pascal"):
    """Times in nanoseconds since 1970, 0 for none."""

    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """A container of a namespace as it is in the database; `spec` is its config.json."""

    namespace: str
    id: str
    name: str
    image: str
    created: datetime | None
    snapshotter: str
    key: str
    spec: KeptDocument

    @classmethod
    def read(cls, namespace: str, container_id: str, bucket: Bucket) -> "ContainerRecord":
        """The record in a bucket. Raises Corrupt."""
        if not _ID.fullmatch(container_id):
            raise Corrupt("that is no ID")
        labels = bucket.bucket(b"labels")
        names = (labels.get(name.encode()) for name in _NAMES) if labels is not None else ()
        return cls(
            namespace,
            container_id,
            _text(next(filter(None, names), b"")),
            _text(bucket.get(b"image") or b""),
            _time(bucket.get(b"createdat") or b""),
            _text(bucket.get(b"snapshotter") or b""),
            _text(bucket.get(b"snapshotKey") or b""),
            KeptDocument.alone(_value(bucket.get(b"spec") or b"")),
        )

    def open_spec(self) -> Blob:
        """Its config.json."""
        return MemoryBlob(self.spec.read())

    def command(self) -> list[str]:
        """What it runs; nothing where that is not recorded."""
        with suppress(ImgfsError):
            return parse_json(self.spec.read(), RuntimeSpec, "spec").command
        return []


@dataclass(frozen=True, slots=True)
class DatabaseRecords:
    """The `Records` of some containers of the root directory `files`."""

    files: Root
    records: tuple[ContainerRecord, ...]

    def stamp(self) -> object:
        """As of `Records`."""
        return self.files.stamp(self._places())

    @property
    def watched(self) -> list[str]:
        """As of `Records`."""
        return list(map(self.files.path_of, self._places()))

    def _places(self) -> list[str]:
        return sorted({_place(record) for record in self.records})

    def read(self, report: Report) -> Iterator[Recorded]:
        """As of `Records`."""
        for record in self.records:
            if not record.key:
                continue
            state = self._state(record)
            container = Container(
                record.id, record.name, None, record.image, record.command(), record.created, state
            )
            key = SnapshotKey(record.snapshotter, record.namespace, record.key)
            yield Recorded(container, key, (record.image,), record.open_spec)

    def _state(self, record: ContainerRecord) -> ContainerState:
        if record.namespace == _KUBERNETES:
            with suppress(ImgfsError, OSError):
                data = self.files.read(_place(record), _MAX_STATUS)
                return _state(parse_json(data, _Status, "status"))
        has_task = self.files.exists(_TASK.format(record.namespace, record.id))
        return ContainerState("unknown" if has_task else "created")


def _place(record: ContainerRecord) -> str:
    """The name of what changes when the state of a container does."""
    return (_STATUS if record.namespace == _KUBERNETES else _TASK_FOLDER).format(record.namespace, record.id)


def _state(status: _Status) -> ContainerState:
    started, ended = (_moment(time) for time in (status.started_at, status.finished_at))
    if ended is not None:
        return ContainerState("exited", status.exit_code, started, ended)
    return ContainerState("created" if started is None else "running", None, started)


def _moment(nanoseconds: int) -> datetime | None:
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(nanoseconds // 10**9, UTC) if nanoseconds > 0 else None
    return None


def _time(data: bytes) -> datetime | None:
    """The time that Go's `Time.MarshalBinary` wrote: a version, seconds since the year 1, nanoseconds, a zone."""
    if len(data) < _TIME.size:
        return None
    version, seconds, nanoseconds = _TIME.unpack_from(data)
    with suppress(OverflowError):
        moment = _FIRST + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
        return moment if version in _TIME_VERSIONS and moment.year > 1 else None
    return None


def _value(data: bytes) -> bytes:
    """The value of a google.protobuf.Any, both of whose fields are strings of bytes. Raises Corrupt."""
    place = 0
    while place < len(data):
        key, size = data[place], varint(data[place + 1 :])
        start = place + 1 + _varint_size(data[place + 1 :])
        if size is None or key & 7 != _BYTES or start + size > len(data):
            break
        if key >> 3 == _VALUE:
            return data[start : start + size]
        place = start + size
    raise Corrupt("its specification is damaged")


def _varint_size(data: bytes) -> int:
    return next((number for number, byte in enumerate(data, 1) if byte < 0x80), 0)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
