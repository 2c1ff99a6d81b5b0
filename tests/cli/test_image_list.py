"""Which images `imgfs ls` lists, in which order and form: as `docker images` does."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount, eventually
from tests.images import TestImage, docker_archive, layer_tar
from tests.splitting import docker_root, graph_root


def image(name: str, created: str, *tags: str, parent: TestImage | None = None, **labels: str) -> TestImage:
    """An image of one layer with a file `name`."""
    extra = {"created": created, "config": {"Labels": labels}}
    return TestImage([layer_tar({name: name.encode()})], tags, parent, extra)


OLD = image("old", "2020-01-01T00:00:00Z", "docker.io/library/app:1", "other/app:1", kind="web")
STEP = image("step", "2021-01-01T00:00:00Z", parent=OLD)
NEW = image("new", "2022-01-01T01:00:00+01:00", "app:2", parent=STEP, kind="job", empty="")
LOOSE = image("loose", "2019-01-01T00:00:00Z")
ALL = [OLD, STEP, NEW, LOOSE]


@pytest.fixture
def docker(tmp_path: Path) -> str:
    """A store of Docker with an image, an unnamed one on it, one on that, and an unnamed one."""
    root = docker_root(tmp_path / "docker", ALL)
    for layer in (root / "image/overlay2/layerdb/sha256").iterdir():
        (layer / "size").write_text("1000000")
    return f"docker:{root}"


def ids(imgfs: Imgfs, *arguments: str, status: int = 0) -> list[str]:
    return imgfs("ls", "-q", "--no-trunc", *arguments, status=status).stdout.decode().split()


def test_the_newest_comes_first_and_what_others_need_is_hidden(imgfs: Imgfs, docker: str) -> None:
    assert ids(imgfs, docker) == [NEW.id, OLD.id, LOOSE.id]
    assert ids(imgfs, "-a", docker) == [NEW.id, STEP.id, OLD.id, LOOSE.id]
    assert [row["id"] for row in json.loads(imgfs("ls", "--json", docker).stdout)] == [
        NEW.id,
        OLD.id,
        LOOSE.id,
    ]
    assert imgfs("ls", "-q", docker).stdout.decode().split()[0] == NEW.id[7:19]
    assert NEW.id.encode() in imgfs("ls", "--no-trunc", docker).stdout


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        (["dangling=true"], [LOOSE]),
        (["dangling=false"], [NEW, OLD]),
        (["label=kind"], [NEW, OLD]),
        (["label=kind=web"], [OLD]),
        (["label=kind", "label=empty="], [NEW]),
        (["label=none"], []),
        ([f"before={STEP.id[7:20]}"], [OLD, LOOSE]),
        (["since=app:1"], [NEW]),
        (["reference=app"], [NEW, OLD]),
        (["reference=a*:2"], [NEW]),
        (["reference=*/app", "reference=app:2"], [NEW, OLD]),
        (["reference=*"], [NEW, OLD]),
        (["until=2020-06-01"], [OLD, LOOSE]),
        (["until=1h30m"], [NEW, OLD, LOOSE]),
        (["until=1500000000"], []),
        (["label=kind", "dangling=true"], []),
    ],
)
def test_filters_are_those_of_docker(
    imgfs: Imgfs, docker: str, conditions: list[str], found: list[TestImage]
) -> None:
    options = [word for condition in conditions for word in ("--filter", condition)]
    assert ids(imgfs, *options, docker) == [each.id for each in found]


@pytest.mark.parametrize("condition", ["label", "size=1", "dangling=maybe", "until=soon"])
def test_a_filter_that_is_none_is_wrong_usage(imgfs: Imgfs, docker: str, condition: str) -> None:
    assert f"--filter {condition}" in imgfs("ls", "-f", condition, docker, status=2).stderr.decode()


def test_a_name_lists_what_docker_lists_for_it(imgfs: Imgfs, docker: str, tmp_path: Path) -> None:
    root = docker.partition(":")[2]

    def tags(*names: str) -> list[list[str]]:
        names = tuple(f"docker:[{root}]{name}" for name in names)
        return [row["tags"] for row in json.loads(imgfs("ls", "--json", *names).stdout)]

    assert tags("app") == [["app:2"], ["docker.io/library/app:1"]]
    assert tags("app:1") == [["docker.io/library/app:1"]]
    assert tags("other/app", "app:2") == [["app:2"], ["other/app:1"]]
    assert tags(STEP.id[7:15]) == [[]]
    assert tags("*/app:?") == [["other/app:1"]]
    imgfs("load", docker_archive(tmp_path / "own.tar", [OLD]))
    assert ids(imgfs, "app") == [OLD.id], "in every store of the machine"
    line = imgfs("ls", "apq", status=1).stderr.decode()
    assert line.startswith("imgfs: No such image: apq") and "did you mean" in line


def test_formats_are_templates_tables_or_json(imgfs: Imgfs, docker: str) -> None:
    def lines(form: str) -> list[str]:
        return (
            imgfs("ls", "--format", form, "--filter", "reference=app:*", docker).stdout.decode().splitlines()
        )

    assert lines("{{.ID}} {{.Repository}}:{{.Tag}} {{.CreatedAt}}") == [
        f"{NEW.id[7:19]} app:2 2022-01-01 00:00:00 +0000 UTC",
        f"{OLD.id[7:19]} docker.io/library/app:1 2020-01-01 00:00:00 +0000 UTC",
    ]
    assert [line.split() for line in lines("table {{.Tag}}\\t{{.ID}}")] == [
        ["TAG", "IMAGE", "ID"],
        ["2", NEW.id[7:19]],
        ["1", OLD.id[7:19]],
    ]
    assert lines("table")[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    first, _ = map(json.loads, lines("json"))
    assert (first["ID"], first["Repository"], first["Tag"], first["Digest"]) == (
        *(NEW.id[7:19], "app", "2", "<none>"),
    )
    assert first == json.loads(lines("{{json .}}")[0])
    assert b"no field .Nothing" in imgfs("ls", "--format", "{{.Nothing}}", docker, status=2).stderr


def test_sizes_are_those_that_engines_record(imgfs: Imgfs, docker: str, tmp_path: Path) -> None:
    """Of layers that cannot even be opened."""
    podman = graph_root(tmp_path / "podman", [NEW])
    for path in [*tmp_path.rglob("tar-split.json.gz"), *podman.rglob("*.tar-split.gz")]:
        path.write_bytes(b"")
    rows = json.loads(imgfs("ls", "--json", docker).stdout)
    assert {row["size"] for row in rows} == {1_000_000}
    (row,) = json.loads(imgfs("ls", "--json", f"containers-storage:{podman}").stdout)
    assert row["size"] == len(NEW.verbatim)


def test_what_only_reads_makes_nothing(
    imgfs: Imgfs, mount: Mount, tmp_path: Path, docker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    monkeypatch.setenv("XDG_DATA_HOME", str(own / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(own / "cache"))
    for command in (["ls"], ["ls", "imgfs:"], ["ls", "--json", docker], ["tree"], ["ls", "-q", "-a"]):
        imgfs(*command)
    imgfs("inspect", "--source", docker, "app:1")
    imgfs("cache", "ls")
    assert not own.exists()
    imgfs("which", "none", "/", status=2)
    imgfs("find", f"docker:[{docker[7:]}]app:1", "*")
    imgfs("doctor", status=None)
    assert not (own / "data").exists()
    with mount("imgfs:") as top:
        assert os.listdir(top / "images") == []
        assert not (own / "data").exists()
        imgfs("load", "-q", docker_archive(tmp_path / "a.tar", [OLD]))
        assert eventually(lambda: os.listdir(top / "images") == [OLD.id[7:]]), "once it is there"
