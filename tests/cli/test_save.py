"""`imgfs save`: what is written is what engines and imgfs itself read, with the same IDs."""

import json
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.images import TestImage, oci_layout
from tests.tools import require_tool

FORMATS = ["docker-archive", "oci-archive", "oci"]


def listed(imgfs: Imgfs, source: str | Path) -> dict[str, list[str]]:
    """The tags of each image of a source, by its ID."""
    rows = json.loads(imgfs("ls", "--json", source).stdout)
    return {row["id"]: sorted(row["tags"]) for row in rows}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_what_is_saved_is_the_same_images(
    imgfs: Imgfs, tmp_path: Path, images: list[TestImage], form: str, compression: str
) -> None:
    layout = oci_layout(tmp_path / "layout", images, compression)
    out = tmp_path / "out"
    names = [tag for image in images for tag in image.tags]
    imgfs("save", "--source", layout, "--format", form, "-o", out, *names)
    expected = {image.id: sorted(image.tags) for image in images}
    assert listed(imgfs, f"{form}:{out}") == expected
    for image in images:
        exported = imgfs("export", "--tar", "verbatim", "--source", f"{form}:{out}", image.id).stdout
        assert exported == image.verbatim
    assert imgfs("verify", f"{form}:{out}")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("with_docker_types", [True, False])
def test_skopeo_copies_what_is_saved(
    imgfs: Imgfs, tmp_path: Path, images: list[TestImage], form: str, with_docker_types: bool
) -> None:
    layout = oci_layout(tmp_path / "layout", images, with_docker_types=with_docker_types)
    out = tmp_path / "out"
    imgfs("save", "--source", layout, "--format", form, "-o", out, "example/child:1")
    raw = subprocess.run(
        [require_tool("skopeo"), "inspect", "--config", "--raw", f"{form}:{out}:example/child:1"],
        capture_output=True,
        check=True,
    ).stdout
    assert raw == images[1].config
    command = [require_tool("skopeo"), "copy", "-q", f"{form}:{out}:example/child:1", f"dir:{tmp_path / 'd'}"]
    subprocess.run(command, check=True)  # it checks every digest


def test_layers_that_images_share_are_written_once_and_equal_images_give_equal_bytes(
    imgfs: Imgfs, tmp_path: Path, archive: Path, images: list[TestImage]
) -> None:
    command = ("save", "--source", archive, *(image.id for image in images))
    first = imgfs(*command).stdout
    assert imgfs(*command).stdout == first
    (tmp_path / "saved.tar").write_bytes(first)
    with tarfile.open(tmp_path / "saved.tar") as saved:
        members = saved.getmembers()
        (manifest,) = (saved.extractfile("manifest.json"),)
        assert manifest is not None
        items = json.load(manifest)
    # folders, layers, configs, manifests, and documents, none of which names a repository of an image without a name
    assert len({member.name for member in members}) == len(members) == 2 + 4 + 3 + 3 + 3
    assert [item["RepoTags"] for item in items] == [None] * 3  # asked for by ID
    assert [item.get("Parent") for item in items] == [None, images[0].id, images[1].id]
    assert [member.name for member in members] == sorted(member.name for member in members)


def test_a_name_is_kept_as_it_is_recorded(imgfs: Imgfs, tmp_path: Path, archive: Path) -> None:
    imgfs("save", "--source", archive, "-o", tmp_path / "out", "docker.io/example/child", "example/child:1")
    (tags,) = listed(imgfs, tmp_path / "out").values()
    assert tags == ["example/child:1", "example/child:latest"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_layer_leaves_nothing_behind(
    imgfs: Imgfs, tmp_path: Path, archive: Path, images: list[TestImage], form: str
) -> None:
    data = bytearray(archive.read_bytes())
    data[data.index(images[0].layers[0]) + 1000] ^= 1
    archive.write_bytes(data)
    out = tmp_path / "saved"
    done = imgfs("save", "--source", archive, "--format", form, "-o", out, "example/base:1", status=1)
    assert b"failed to verify" in done.stderr
    assert not [name for name in os.listdir(tmp_path) if name.startswith("saved")]


def test_a_directory_that_is_there_is_left_alone(imgfs: Imgfs, tmp_path: Path, archive: Path) -> None:
    (tmp_path / "there").mkdir()
    command = ("save", "--source", archive, "--format", "oci", "example/base:1")
    done = imgfs(*command, "-o", tmp_path / "there", status=1)
    assert b"there: File exists" in done.stderr
    assert b"-o DIRECTORY" in imgfs(*command, status=2).stderr
    assert os.listdir(tmp_path / "there") == []


def test_it_is_piped_into_load(imgfs: Imgfs, tmp_path: Path, archive: Path, images: list[TestImage]) -> None:
    saved = imgfs("save", "--source", archive, "example/grandchild:1").stdout
    loaded = imgfs("load", "-q", stdin=saved).stdout.decode()
    assert loaded.split() == [images[2].id]
    assert listed(imgfs, "imgfs:") == {images[2].id: ["example/grandchild:1"]}


def test_a_directory_has_the_modes_that_the_user_asks_for(
    imgfs: Imgfs, tmp_path: Path, archive: Path
) -> None:
    out = tmp_path / "out"
    imgfs("save", "--source", archive, "--format", "oci", "-o", f"{out}/", "example/base:1")
    assert stat.S_IMODE((out / "index.json").stat().st_mode) == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_name_of_a_layout_that_is_a_tag_alone_is_one_that_engines_take(
    imgfs: Imgfs, tmp_path: Path, images: list[TestImage]
) -> None:
    layout = oci_layout(tmp_path / "layout", images[:1], "none")
    index = json.loads((layout / "index.json").read_text())
    for name, tags in {"v1": ["layout:v1"], "No Name": None}.items():
        index["manifests"] = index["manifests"][:1]
        index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": name}
        (layout / "index.json").write_text(json.dumps(index))
        imgfs("save", "-o", tmp_path / "out.tar", f"oci:{layout}")
        with tarfile.open(tmp_path / "out.tar") as saved:
            manifest = saved.extractfile("manifest.json")
            assert manifest is not None
            assert json.load(manifest)[0]["RepoTags"] == tags
        imgfs("save", "--format", "oci", "-o", tmp_path / "out", f"oci:{layout}")
        saved_index = json.loads((tmp_path / "out/index.json").read_text())
        annotations = saved_index["manifests"][0]["annotations"]
        assert annotations["org.opencontainers.image.ref.name"] == (tags or [name])[0]
        full = annotations.get("io.containerd.image.name")
        assert full == (f"docker.io/library/{tags[0]}" if tags else None)
        shutil.rmtree(tmp_path / "out")
