"""`imgfs ps`: containers as docker ps lists them."""

import json
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.containers import docker_container, state
from tests.images import TestImage, docker_archive
from tests.splitting import docker_root


@pytest.fixture
def root(tmp_path: Path, images: list[TestImage]) -> Path:
    root = docker_root(tmp_path / "root", images)
    docker_container(root, images[0], 1)
    created = "2026-02-02T03:04:05Z"
    docker_container(root, images[1], 2, Created=created, State=state("running"), Config={"Image": "other:1"})
    return root


def test_containers_are_listed_newest_first(imgfs: Imgfs, root: Path, images: list[TestImage]) -> None:
    heading, first, second = imgfs("ps", f"docker:{root}").stdout.decode().splitlines()
    assert heading.split("  ")[0] == "CONTAINER ID"
    assert first.split()[:2] == ["2" * 12, images[1].id[7:19]]  # that name is no longer its image's
    assert second.split()[:2] == ["1" * 12, "example/base:1"]
    assert '"/bin/sh -c \'echo he…"' in second
    assert " Up " in first
    assert " Exited (3) " in second
    assert second.endswith("name1")


def test_ids_alone_and_whole(imgfs: Imgfs, root: Path) -> None:
    assert imgfs("ps", "-q", f"docker:{root}").stdout.split() == [b"2" * 12, b"1" * 12]
    assert imgfs("ps", "-aq", "--no-trunc", f"docker:{root}").stdout.split() == [b"2" * 64, b"1" * 64]


def test_json_has_all_that_is_known(imgfs: Imgfs, root: Path, images: list[TestImage]) -> None:
    _, container = json.loads(imgfs("ps", "--json", f"docker:{root}").stdout)
    assert container == {
        "id": "1" * 64,
        "name": "name1",
        "image": images[0].id,
        "image_name": "example/base:1",
        "command": ["/bin/sh", "-c", "echo hello"],
        "created": "2026-01-02T03:04:05.123456+00:00",
        "state": "exited",
        "exit_code": 3,
        "started": "2026-01-02T03:04:06+00:00",
        "finished": "2026-01-02T03:05:06+00:00",
        "ports": [],
        "source": f"docker:{root}",
    }


def test_a_source_without_containers_has_an_empty_list(
    imgfs: Imgfs, tmp_path: Path, images: list[TestImage]
) -> None:
    archive = docker_archive(tmp_path / "a.tar", images)
    assert imgfs("ps", "--json", archive).stdout == b"[]\n"
    assert len(imgfs("ps", archive).stdout.splitlines()) == 1


def test_one_that_is_damaged_is_skipped_with_status_3(imgfs: Imgfs, root: Path) -> None:
    (root / "containers" / ("1" * 64) / "config.v2.json").write_text("nonsense")
    done = imgfs("ps", "-q", f"docker:{root}", status=3)
    assert done.stdout.split() == [b"2" * 12]
    assert b"1" * 64 in done.stderr
