"""`imgfs inspect` and `imgfs ls` beside what docker and podman print of the same images."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.engines.conftest import Built, Engines
from tests.engines.containerd import archives, running_containerd, running_registry
from tests.images import TestImage, layer_tar

KINDS = ("docker-overlay2", "podman-overlay")
SAME = ("Comment", "Author", "Architecture", "Variant", "Os", "DockerVersion", "RootFS", "RepoDigests")
DOCUMENTS = 20_000  # bytes of configs and manifests, which podman counts as a part of an image


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, engines: Engines) -> Built:
    return engines[request.param]


def test_inspect_has_the_fields_of_the_engine(engine: Built, imgfs: Imgfs) -> None:
    images = sorted(engine.engine.images())
    theirs = {
        of["Id"].removeprefix("sha256:"): of
        for of in json.loads(engine.engine.command("image", "inspect", *images))
    }
    for ours in json.loads(imgfs("inspect", "--source", engine.engine.source, *images).stdout):
        their = theirs[ours["Id"].removeprefix("sha256:")]
        for field in SAME:
            assert field not in their or (ours.get(field) or None) == (their[field] or None), field
        assert sorted(ours["RepoTags"]) == sorted(their["RepoTags"])
        assert ours["Parent"].removeprefix("sha256:") == their["Parent"].removeprefix("sha256:")
        assert datetime.fromisoformat(ours["Created"]) == datetime.fromisoformat(their["Created"])
        assert 0 <= their["Size"] - ours["Size"] < (DOCUMENTS if "Digest" in their else 1)
        assert {key: value for key, value in their["Config"].items() if value} == {
            key: value for key, value in ours["Config"].items() if value and key in their["Config"]
        }
        if "Metadata" in their and ours["RepoTags"]:
            tagged, recorded = (of["Metadata"]["LastTagTime"] for of in (ours, their))
            assert datetime.fromisoformat(tagged) == datetime.fromisoformat(recorded)
        if "Digest" in their:
            assert (ours["Digest"], ours["History"]) == (their["Digest"], their["History"])


def test_digests_of_what_docker_pushed_are_those_it_shows(
    engines: Engines, imgfs: Imgfs, tmp_path: Path
) -> None:
    docker = engines["docker-overlay2"].engine
    with running_registry(tmp_path) as registry:
        name = f"{registry}/some/name:1"
        docker.command("tag", "hurting:top", name)
        try:
            docker.command("push", "-q", name)
            (their,) = json.loads(docker.command("image", "inspect", name))
            (ours,) = json.loads(imgfs("inspect", "--source", docker.source, name).stdout)
            assert ours["RepoDigests"] == their["RepoDigests"] != []
            form = ("--format", "{{.Repository}} {{.Digest}}", "--filter", f"reference={registry}/some/*")
            listed = imgfs("ls", *form, docker.source).stdout.decode().strip()
            assert listed == docker.command("images", "--digests", *form)
        finally:
            docker.command("rmi", name)


def test_ls_lists_what_the_engine_lists(engine: Built, imgfs: Imgfs) -> None:
    form = "{{.ID}} {{.Repository}} {{.Tag}}"
    all_options = (
        ["--no-trunc"],
        ["-a"],
        ["--filter", "reference=hurting:*ed"],
        ["--filter", "dangling=false"],
        ["--filter", "label=none"],
        ["--filter", "before=hurting:top"],
        ["--filter", "since=hurting:base"],
    )
    for options in all_options:
        theirs = engine.engine.command("images", *options, "--format", form).splitlines()
        ours = imgfs("ls", *options, "--format", form, engine.engine.source).stdout.decode().splitlines()
        assert sorted(ours) == sorted(theirs), options
    lines = engine.engine.command("images", "--format", "{{.ID}}|{{.CreatedAt}}").splitlines()
    created = dict(line.split("|") for line in lines)
    ours = imgfs("ls", "-q", engine.engine.source).stdout.decode().split()
    assert sorted(ours) == sorted(created)
    # engines order those of one second in any way
    times = [created[image_id] for image_id in ours]
    assert times == sorted(times, reverse=True), "the newest first"


def test_sizes_are_those_of_unpacked_layers_in_containerd(suite: str, imgfs: Imgfs, tmp_path: Path) -> None:
    images = [TestImage([layer_tar({"a": bytes(100_000)}), layer_tar({"b": bytes(9)})], ["example/a:1"])]
    with running_containerd(tmp_path, suite) as containerd:
        for archive in archives(tmp_path, images):
            containerd.ctr("images", "import", archive)
        used = containerd.ctr("snapshots", "usage", "-b").splitlines()[1:]
        source = f"containerd:{containerd.root}"
        (row,) = json.loads(imgfs("ls", "--json", source).stdout)
        assert row["size"] == sum(int(line.split()[1]) for line in used) > 100_000
        assert imgfs("ls", "--format", "{{.Size}}", source).stdout == b"112K\n"
