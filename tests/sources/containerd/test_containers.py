"""Containers of containerd: what is recorded of them, what they stand on, damage. Real ones are in `tests.engines`."""

import json
import os
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from imgfs.rootfs import RootFS, TreeCache
from imgfs.sources import Source, open_source
from imgfs.sources.container import ContainerState
from tests.images import TestImage, digest, layer_tar
from tests.indexing import indexing
from tests.sources.containerd.bolt_files import Tree, database_of
from tests.sources.containerd.roots import Root, entry
from tests.tools import require_root

IMAGE = TestImage([layer_tar({"below": b"b"}), layer_tar({"above": b"a"})])
NAME = b"docker.io/library/x:1"
SPEC = b'{"ociVersion": "1.0.2", "process": {"args": ["/bin/sh", "-c", "sleep 1"]}}'
KUBERNETES = "k8s.io"


def chain(count: int) -> bytes:
    """The chain ID of so many layers of the image."""
    chain_id = digest(IMAGE.layers[0])
    for tar in IMAGE.layers[1:count]:
        chain_id = digest(f"{chain_id} {digest(tar)}".encode())
    return chain_id.encode()


def any_of(value: bytes) -> bytes:
    """A google.protobuf.Any of a specification."""
    kind = b"types.containerd.io/opencontainers/runtime-spec/1/Spec"
    return b"\n" + bytes([len(kind)]) + kind + b"\x12" + bytes([len(value)]) + value


def time_of(moment: str) -> bytes:
    """A time as Go marshals it."""
    seconds = int(
        (datetime.fromisoformat(moment) - datetime.fromisoformat("0001-01-01T00:00Z")).total_seconds()
    )
    return struct.pack(">Bqih", 1, seconds, 123456789, -1)


def container(**changed: "bytes | Tree") -> Tree:
    """What is recorded of a container with the key "its key"."""
    usual: Tree = {
        b"image": NAME,
        b"createdat": time_of("2026-01-02T03:04:05+00:00"),
        b"labels": {b"other": b"x", b"nerdctl/name": b"called"},
        b"snapshotter": b"overlayfs",
        b"snapshotKey": b"its key",
        b"spec": any_of(SPEC),
    }
    return {**usual, **{key.encode(): value for key, value in changed.items()}}


def snapshot(number: int, parent: bytes = b"", kind: int = 3) -> Tree:
    return {b"id": bytes([number]), b"kind": bytes([kind])} | ({b"parent": parent} if parent else {})


class Made(Root):
    """A root with the image unpacked, and a container in a namespace that stands on it."""

    def __init__(self, path: Path, namespace: str = "default", snapshotter: str = "overlayfs") -> None:
        super().__init__(path, IMAGE)
        self.namespace = namespace
        below, above = (f"{namespace}/{number}/".encode() + chain(number) for number in (1, 2))
        self.snapshots: dict[bytes, bytes | Tree] = {
            below: snapshot(1),
            above: snapshot(2, below),
            f"{namespace}/7/its key-init".encode(): snapshot(7, above),
            f"{namespace}/8/its key".encode(): snapshot(8, f"{namespace}/7/its key-init".encode(), 2),
        }
        self.snapshotter = path / f"io.containerd.snapshotter.v1.{snapshotter}"
        for number, name in {1: "below", 2: "above", 7: "init", 8: "own"}.items():
            files = self.snapshotter / "snapshots" / str(number) / "fs"
            files.mkdir(parents=True)
            (files / name).write_text(name)
        self.record({b"one": container()})

    def record(self, containers: Tree, images: "Tree | None" = None) -> None:
        """Write the databases."""
        if images is None:
            images = {NAME: entry(self.manifests[0])}
        self._transaction += 1
        tree: Tree = {b"v1": {self.namespace.encode(): {b"images": images, b"containers": containers}}}
        self.database.write_bytes(database_of(tree, transaction=self._transaction))
        (self.snapshotter / "metadata.db").write_bytes(
            database_of({b"v1": {b"snapshots": self.snapshots}}, transaction=self._transaction)
        )


@contextmanager
def opened(root: Root) -> Iterator[Source]:
    with indexing(root.path) as indexer, closing(open_source(f"containerd:{root.path}", indexer)) as source:
        yield source


def files_of(source: Source, container_id: str = "one") -> set[str]:
    layers = source.container_layers(source.containers[container_id])
    with RootFS.of(layers, TreeCache(None), "container") as rootfs:
        return set(rootfs.listdir())


def test_what_is_recorded_of_it_is_known(tmp_path: Path) -> None:
    with opened(Made(tmp_path)) as source:
        found = source.containers["one"]
        assert (found.container.name, found.container.image, found.container.image_name) == (
            "called",
            IMAGE.id,
            NAME.decode(),
        )
        assert found.container.command == ["/bin/sh", "-c", "sleep 1"]
        assert found.container.created == datetime.fromisoformat("2026-01-02T03:04:05.123456+00:00")
        with found.open_record() as record:
            assert record.pread(record.size, 0) == SPEC


@pytest.mark.parametrize(
    ("label", "name"),
    [("io.kubernetes.container.name", "web"), ("io.kubernetes.pod.name", "web-1"), ("other", "")],
)
def test_its_name_is_what_its_client_has_as_a_label(tmp_path: Path, label: str, name: str) -> None:
    root = Made(tmp_path)
    root.record({b"one": container(labels={label.encode(): name.encode()})})
    with opened(root) as source:
        assert source.containers["one"].container.name == name


def test_without_a_task_it_is_created_and_with_one_its_state_is_unknown(tmp_path: Path) -> None:
    with opened(Made(tmp_path)) as source:
        assert source.containers["one"].container.state == ContainerState("created")
        (tmp_path / "io.containerd.runtime.v2.task/default/one").mkdir(parents=True)
        assert source.refresh()
        assert source.containers["one"].container.state == ContainerState("unknown")


@pytest.mark.parametrize(
    ("started", "finished", "status", "exit_code"),
    [(0, 0, "created", None), (1, 0, "running", None), (1, 2, "exited", 3)],
)
def test_of_kubernetes_its_state_is_recorded(
    tmp_path: Path, started: int, finished: int, status: str, exit_code: int | None
) -> None:
    folder = tmp_path / "io.containerd.grpc.v1.cri/containers/one"
    folder.mkdir(parents=True)
    times = {"CreatedAt": 1, "StartedAt": started * 10**9, "FinishedAt": finished * 10**9}
    (folder / "status").write_text(json.dumps({"Version": "v1", "ExitCode": 3, **times}))
    with opened(Made(tmp_path, KUBERNETES)) as source:
        state = source.containers["one"].container.state
        assert (state.status, state.exit_code) == (status, exit_code)
        assert state.started == (datetime.fromisoformat("1970-01-01T00:00:01Z") if started else None)


def test_its_files_are_those_of_its_image_with_its_own(tmp_path: Path) -> None:
    require_root()
    root = Made(tmp_path)
    with opened(root) as source:
        assert files_of(source) == {"below", "above", "init", "own"}
        assert len(source.containers["one"].own) == 2


def test_its_image_may_be_gone_as_its_snapshots_are_kept(tmp_path: Path) -> None:
    require_root()
    root = Made(tmp_path)
    root.record({b"one": container()}, images={})
    with opened(root) as source:
        assert source.containers["one"].container.image is None
        assert len(source.containers["one"].own) == 4
        assert files_of(source) == {"below", "above", "init", "own"}


def test_its_name_may_be_that_of_another_image_by_now(tmp_path: Path) -> None:
    root = Made(tmp_path)
    root.record({b"one": container()}, images={b"else": entry(root.manifests[0])})
    with opened(root) as source:
        assert source.containers["one"].container.image is None
        assert len(source.containers["one"].layers) == 2


def test_what_lies_between_the_layers_of_its_image_is_seen_in_it(tmp_path: Path) -> None:
    """As Docker's builder leaves its own files there."""
    require_root()
    root = Made(tmp_path)
    below, above = list(root.snapshots)[:2]
    root.snapshots[b"default/9/between-init"] = snapshot(9, below)
    root.snapshots[above] = snapshot(2, b"default/9/between-init")
    between = root.snapshotter / "snapshots/9/fs"
    between.mkdir(parents=True)
    (between / "between").touch()
    root.record({b"one": container()})
    with opened(root) as source:
        assert source.containers["one"].container.image == IMAGE.id
        assert files_of(source) == {"below", "between", "above", "init", "own"}


def test_a_container_that_is_mounted_may_have_changed(tmp_path: Path) -> None:
    root = Made(tmp_path)
    work = root.snapshotter / "snapshots/8/work"
    work.mkdir()
    with opened(root) as source:
        before = source.containers["one"]
        os.utime(work, (1, 1))
        assert source.refresh()
        assert source.containers["one"] != before


def test_containers_without_snapshots_are_their_clients(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = Made(tmp_path)
    root.record({b"docker": container(snapshotKey=b""), b"one": container()})
    with opened(root) as source:
        assert source.containers.keys() == {"one"}
    assert not caplog.records


@pytest.mark.parametrize(
    ("container_id", "changed", "why"),
    [
        (b"../up", {}, "that is no ID"),
        (b"bad", {"spec": b"\x12\x7f{}"}, "its specification is damaged"),
        (b"bad", {"snapshotKey": b"none"}, "its snapshot 'none' is missing"),
        (
            b"bad",
            {"snapshotKey": b"loose"},
            "what its snapshot stands on, 'default/0/none', is missing or has no end",
        ),
        (
            b"bad",
            {"snapshotKey": b"loop"},
            "what its snapshot stands on, 'default/11/loop', is missing or has no end",
        ),
        (
            b"bad",
            {"snapshotter": b"zfs"},
            "its files are kept by the snapshotter 'zfs', which cannot be read",
        ),
    ],
)
def test_one_that_is_damaged_is_named_and_the_others_are_seen(
    tmp_path: Path, container_id: bytes, changed: dict[str, bytes], why: str
) -> None:
    root = Made(tmp_path)
    root.snapshots[b"default/10/loose"] = snapshot(10, b"default/0/none")
    root.snapshots[b"default/11/loop"] = snapshot(11, b"default/11/loop")
    root.record({b"one": container(), container_id: container(**changed)})
    with opened(root) as source:
        assert source.containers.keys() == {"one"}
        (problem,) = source.problems
        assert problem.startswith(f"skipping container {container_id.decode()}")
        assert problem.endswith(why)


def test_very_many_snapshots_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.sources.containerd.containers._MAX_SNAPSHOTS", 5)
    root = Made(tmp_path)
    root.record({b"one": container(), b"two": container()})
    with opened(root) as source:
        assert source.containers.keys() == {"one"}
        assert list(source.problems) == ["skipping container two: containers stand on more than 5 snapshots"]


def test_with_erofs_what_it_changed_is_in_a_directory_or_cannot_be_read(tmp_path: Path) -> None:
    require_root()
    root = Made(tmp_path, snapshotter="erofs")
    root.snapshots[b"default/8/its key"] = snapshot(8, list(root.snapshots)[1], 2)
    root.record({b"one": container(snapshotter=b"erofs")})
    with opened(root) as source:
        assert files_of(source) == {"below", "above", "own"}
    (root.snapshotter / "snapshots/8/rwlayer.img").touch()
    with opened(root) as source:
        assert not source.containers
        (problem,) = source.problems
        assert problem.startswith("skipping container one: its files are in a file system image")
