"""Listing: `imgfs ls`, `imgfs tree`, `imgfs inspect`."""

import json
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.images import TestImage, docker_archive, layer_tar
from tests.layouts import Layout, artifacts, tagged
from tests.tools import require_tool


def test_ls_of_a_new_store_is_empty(imgfs: Imgfs) -> None:
    assert imgfs("ls").stdout.decode().split() == ["TAG", "IMAGE", "ID", "CREATED", "LAYERS", "SIZE"]
    assert json.loads(imgfs("ls", "--json").stdout) == []


def test_ls_shows_one_line_a_name(imgfs: Imgfs, archive: Path, images: list[TestImage]) -> None:
    lines = imgfs("ls", archive).stdout.decode().splitlines()[1:]
    assert len(lines) == 4
    for image in images:
        for tag in image.tags:
            (line,) = (line for line in lines if line.startswith(tag))
            assert image.id[7:19] in line
            assert " ago  " in line


def test_no_line_is_cut_however_narrow_the_terminal(
    imgfs: Imgfs, archive: Path, monkeypatch: pytest.MonkeyPatch, images: list[TestImage]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    shown = (
        require_tool("script"),
        "-qec",
        shlex.join([sys.executable, "-m", "imgfs", "ls", str(archive)]),
        "/dev/null",
    )
    on_terminal = subprocess.run(shown, capture_output=True, stdin=subprocess.DEVNULL, check=True).stdout
    assert on_terminal.replace(b"\r\n", b"\n") == imgfs("ls", archive).stdout


def test_places_with_unusual_names_are_shown_on_one_line_and_in_json(
    imgfs: Imgfs, tmp_path: Path, images: list[TestImage]
) -> None:
    path = docker_archive(tmp_path / "e\x1b[31m\n\udcff.tar", images[:1])
    lines = imgfs("ls", path, "imgfs:").stdout.splitlines()
    assert len(lines) == 2
    assert lines[1].endswith(b"/e\\x1b[31m\\n\\xff.tar")
    (row,) = json.loads(imgfs("ls", "--json", path).stdout)
    assert row["sources"] == [f"docker-archive:{tmp_path}/e\x1b[31m\n\\xff.tar"]
    assert b"e\\u001b[31m" in imgfs("inspect", "--source", path, images[0].id).stdout
    path.write_bytes(images[0].layers[0])
    assert imgfs("import", path).stdout.startswith(b"sha256:")


def test_heads_are_what_nothing_is_based_on(imgfs: Imgfs, archive: Path, images: list[TestImage]) -> None:
    rows = json.loads(imgfs("ls", "--heads", "--json", archive).stdout)
    assert [row["id"] for row in rows] == [images[-1].id]


def test_an_image_in_two_sources_is_listed_once(imgfs: Imgfs, archive: Path, images: list[TestImage]) -> None:
    other = docker_archive(archive.parent / "other.tar", images[:1])
    rows = json.loads(imgfs("ls", "--json", archive, other).stdout)
    assert len(rows) == 3
    (base,) = (row for row in rows if row["id"] == images[0].id)
    assert base["sources"] == [f"docker-archive:{archive}", f"docker-archive:{other}"]


def test_artifacts_are_counted_in_one_line_or_listed(imgfs: Imgfs, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    image, entry = layout.image("a")
    made = artifacts(layout)
    chart = made["helm"] | tagged("the\nchart")
    source = layout.finish(entry | tagged("t"), chart, *(made[name] for name in made if name != "helm"))
    digests = {str(of["digest"]) for of in made.values()}
    for options in ((), ("--json",), ("--heads",)):
        done = imgfs("ls", *options, source)
        line = f"imgfs: {len(digests)} artifacts not listed (see --all-types)"
        assert done.stderr.decode().splitlines() == [line]
        assert str(chart["digest"])[7:19].encode() not in done.stdout
    done = imgfs("ls", "--all-types", source)
    lines = done.stdout.decode().splitlines()
    assert lines[0].split() == ["TAG", "ID", "TYPE", "CREATED", "LAYERS", "SIZE"]
    assert [line.split()[:3] for line in lines if line.startswith(("layout:t ", "the"))] == [
        ["layout:t", image[7:19], "image"],
        ["the\\nchart", str(chart["digest"])[7:19], "application/vnd.cncf.helm.config.v1+json"],
    ]
    assert len(lines) == 2 + len(digests)
    rows = {row["id"]: row for row in json.loads(imgfs("ls", "--all-types", "--json", source).stdout)}
    assert set(rows) == {image, *digests}
    assert rows[image]["type"] == "image"
    assert rows[chart["digest"]] == {
        "id": chart["digest"],
        "type": "application/vnd.cncf.helm.config.v1+json",
        "tags": ["the\\nchart"],
        "created": None,
        "layers": None,
        "size": None,
        "parent": None,
        "sources": [source],
    }
    assert not done.stderr


def test_an_artifact_in_two_sources_is_listed_once_with_all_names(imgfs: Imgfs, tmp_path: Path) -> None:
    sources = []
    for name in ("one", "two"):
        layout = Layout(tmp_path / name)
        sources.append(layout.finish(artifacts(layout)["sbom"] | tagged(name)))
    assert b"imgfs: 1 artifact not listed" in imgfs("ls", *sources).stderr
    (row,) = json.loads(imgfs("ls", "--all-types", "--json", *sources).stdout)
    assert (row["tags"], row["sources"]) == (["one:one", "two:two"], sources)


def test_tree_draws_children_below_parents(imgfs: Imgfs, archive: Path, images: list[TestImage]) -> None:
    lines = imgfs("tree", archive).stdout.decode().splitlines()
    assert [line.index(image.id[7:19]) for line, image in zip(lines, images, strict=True)] == [0, 4, 8]


def test_cyclic_parents_are_drawn_once(imgfs: Imgfs, tmp_path: Path) -> None:
    """Two images that each name the other as parent, in an archive made by an attacker."""
    one, two = TestImage([layer_tar({"1": b""})]), TestImage([layer_tar({"2": b""})])
    path = docker_archive(tmp_path / "cycle.tar", [one, two])
    with tarfile.open(path) as archive:
        member = archive.extractfile("manifest.json")
        assert member is not None
        manifest = json.loads(member.read())
    manifest[0]["Parent"], manifest[1]["Parent"] = two.id, one.id
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    subprocess.run(["tar", "-C", tmp_path, "-rf", path, "manifest.json"], check=True)
    lines = imgfs("tree", path).stdout.decode().splitlines()
    assert sorted(line.split()[-1] for line in lines) == sorted([one.id[7:19], two.id[7:19]])


def test_control_characters_in_names_do_not_reach_the_terminal(imgfs: Imgfs, tmp_path: Path) -> None:
    path = docker_archive(
        tmp_path / "evil.tar", [TestImage([layer_tar({"a": b""})], ["evil\x1b]0;title\x07:1"])]
    )
    assert b"\x1b" not in imgfs("ls", path).stdout + imgfs("tree", path).stdout


def test_one_long_name_does_not_make_every_line_long(imgfs: Imgfs, tmp_path: Path) -> None:
    layer = layer_tar({"a": b""})
    tags = ["n" * 100_000, *(f"t{number}:1" for number in range(50))]
    path = docker_archive(tmp_path / "x.tar", [TestImage([layer], tags)])
    assert len(imgfs("ls", path).stdout) < 200_000
    assert len(imgfs("verify", path).stdout) < 250_000, "each line names the first images only"
