"""Containers in Docker's data roots: described, damaged, changing."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from imgfs.rootfs import RootFS, TreeCache
from imgfs.sources import Source, open_source
from tests.containers import docker_container, state, write_record
from tests.images import TestImage
from tests.indexing import indexing
from tests.sources.containerd.test_containers import IMAGE, Made, snapshot
from tests.splitting import docker_root
from tests.tools import require_root


@contextmanager
def _opened(path: Path) -> Iterator[Source]:
    with indexing(path) as indexer, closing(open_source(f"docker:{path / 'root'}", indexer)) as source:
        yield source


@pytest.fixture
def root(tmp_path: Path, images: list[TestImage]) -> Path:
    return docker_root(tmp_path / "root", images)


def test_what_is_recorded_of_it_is_known(tmp_path: Path, root: Path, images: list[TestImage]) -> None:
    ports = {"80/tcp": [{"HostIp": "::", "HostPort": "8080"}], "443/tcp": None}
    container_id, _ = docker_container(root, images[0], NetworkSettings={"Ports": ports})
    with _opened(tmp_path) as source:
        container = source.containers[container_id].container
        assert (container.name, container.image, container.image_name) == (
            "name1",
            images[0].id,
            "example/base:1",
        )
        assert container.command == ["/bin/sh", "-c", "echo hello"]
        assert container.created is not None
        assert container.created.isoformat() == "2026-01-02T03:04:05.123456+00:00"
        assert container.ports == ["443/tcp", "[::]:8080->80/tcp"]
        with source.containers[container_id].open_record() as record:
            assert json.loads(record.pread(record.size, 0))["ID"] == container_id


@pytest.mark.parametrize(
    "status", ["created", "running", "paused", "restarting", "removing", "exited", "dead"]
)
def test_its_state_is_what_docker_calls_it(
    tmp_path: Path, root: Path, images: list[TestImage], status: str
) -> None:
    container_id, _ = docker_container(root, images[0], State=state(status))
    with _opened(tmp_path) as source:
        found = source.containers[container_id].container.state
        assert found.status == status
        assert found.exit_code == (3 if status in ("removing", "exited", "dead") else None)


def test_its_files_are_those_of_its_image_with_its_changes(
    tmp_path: Path, root: Path, images: list[TestImage]
) -> None:
    require_root()
    container_id, own = docker_container(root, images[0])
    (own / "mine").write_text("mine")
    with _opened(tmp_path) as source:
        layers = source.container_layers(source.containers[container_id])
        with (
            RootFS.of(layers, TreeCache(None), "container") as rootfs,
            RootFS.of(source.store.layers(images[0].id), TreeCache(None), "image") as image,
        ):
            assert set(rootfs.listdir()) == {*image.listdir(), ".dockerenv", "mine"}
            assert rootfs.open("mine").read() == b"mine"


def test_its_image_may_be_gone_as_its_layers_are_kept(
    tmp_path: Path, root: Path, images: list[TestImage]
) -> None:
    container_id, _ = docker_container(root, images[0])
    (root / "image/overlay2/imagedb/content/sha256" / images[0].id[7:]).unlink()
    (root / "image/overlay2/repositories.json").unlink()
    with _opened(tmp_path) as source:
        assert images[0].id not in source.store
        layers = source.container_layers(source.containers[container_id])
        assert len(layers.open_one(0).pread(512, 0)) == 512


def test_containers_come_change_and_go(tmp_path: Path, root: Path, images: list[TestImage]) -> None:
    with _opened(tmp_path) as source:
        assert not source.containers
        container_id, _ = docker_container(root, images[0])
        assert source.refresh()
        write_record(root, container_id, images[0], State=state("running"))
        assert source.refresh()
        assert source.containers[container_id].container.state.status == "running"
        (root / "containers" / container_id).rename(tmp_path / "removed")
        assert source.refresh()
        assert not source.containers


def test_a_container_that_docker_mounts_may_have_changed(
    tmp_path: Path, root: Path, images: list[TestImage]
) -> None:
    """As docker cp changes one that does not run."""
    container_id, own = docker_container(root, images[0])
    with _opened(tmp_path) as source:
        before = source.containers[container_id]
        (own.parent / "merged").mkdir()
        assert source.refresh()
        assert source.containers[container_id] != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("containers/{}/config.v2.json", "nonsense"),
        ("containers/{}/config.v2.json", "[" * 100_000),
        ("image/overlay2/layerdb/mounts/{}/parent", "nonsense"),
        ("image/overlay2/layerdb/mounts/{}/parent", "sha256:" + "0" * 64),
        ("image/overlay2/layerdb/mounts/{}/mount-id", "../../../etc"),
        ("image/overlay2/layerdb/mounts/{}/init-id", "/"),
        ("image/overlay2/layerdb/mounts/{}/mount-id", None),
    ],
)
def test_one_that_is_damaged_is_named_and_the_others_are_seen(
    tmp_path: Path, root: Path, images: list[TestImage], name: str, text: str | None
) -> None:
    broken, _ = docker_container(root, images[0], 1)
    whole, _ = docker_container(root, images[0], 2)
    path = root / name.format(broken)
    path.unlink() if text is None else path.write_text(text)
    with _opened(tmp_path) as source:
        assert list(source.containers) == [whole]
        assert [broken in problem for problem in source.problems] == [True]


def test_a_layer_that_is_a_link_leads_nowhere(tmp_path: Path, root: Path, images: list[TestImage]) -> None:
    container_id, own = docker_container(root, images[0])
    own.rmdir()
    own.symlink_to("/etc")
    with _opened(tmp_path) as source:
        found = source.containers[container_id]
        with (
            RootFS.of(source.container_layers(found), TreeCache(None), "container") as rootfs,
            pytest.raises(NotADirectoryError),
        ):
            rootfs.listdir()


def test_one_in_containerd_has_dockers_record_and_the_files_of_its_snapshot(tmp_path: Path) -> None:
    require_root()
    root, container_id = tmp_path / "root", "1" * 64
    inner = Made(root / "containerd/daemon", "moby")
    inner.snapshots[f"moby/9/{container_id}".encode()] = snapshot(8, b"moby/7/its key-init")
    inner.record({})
    (root / "containers" / container_id).mkdir(parents=True)
    digest = inner.manifests[0]
    write_record(root, container_id, IMAGE, "overlayfs", Name="/called", Image=digest)
    (root / "containers" / container_id / f"{container_id}-json.log").write_text("log")
    with _opened(tmp_path) as source:
        found = source.containers[container_id]
        assert (found.container.name, found.container.image) == ("called", IMAGE.id)
        assert found.container.state.exit_code == 3
        assert found.open_log is not None
        layers = source.container_layers(found)
        with RootFS.of(layers, TreeCache(None), "container") as rootfs:
            assert set(rootfs.listdir()) == {"below", "above", "init", "own"}
        write_record(root, container_id, IMAGE, "overlayfs", State=state("running"))
        assert source.refresh()
        assert source.containers[container_id].container.state.status == "running"


def test_its_log_is_a_file_with_two_log_drivers(tmp_path: Path, root: Path, images: list[TestImage]) -> None:
    container_id, _ = docker_container(root, images[0])
    folder = root / "containers" / container_id

    def log() -> bytes | None:
        with _opened(tmp_path) as source:
            open_log = source.containers[container_id].open_log
            if open_log is None:
                return None
            with open_log() as blob:
                return blob.pread(blob.size, 0)

    assert log() == b'{"log":"hello\\n"}\n'
    (folder / f"{container_id}-json.log").unlink()
    assert log() is None
    (folder / "local-logs").mkdir()
    (folder / "local-logs/container.log").write_bytes(b"local")
    assert log() == b"local"
