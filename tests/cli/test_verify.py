"""`imgfs verify`: a line for each thing checked; that nothing is missed is tested in `tests.sources.test_flips`."""

import json
from pathlib import Path

import pytest

from tests.cli.test_index import kept, stored
from tests.conftest import Imgfs
from tests.damage import flip
from tests.images import TestImage, oci_layout
from tests.splitting import docker_root


@pytest.fixture
def layout(tmp_path: Path, images: list[TestImage]) -> Path:
    return oci_layout(tmp_path / "layout", images)


def test_verify_says_good_of_every_layer(
    imgfs: Imgfs, layout: Path, images: list[TestImage], tmp_path: Path
) -> None:
    lines = imgfs("verify", layout).stdout.decode().splitlines()
    names = {image.id: ", ".join(image.tags) or image.id[7:19] for image in images}
    assert sorted(lines[:3]) == sorted(f"good  config {image.id}  # {names[image.id]}" for image in images)
    layers = [line for line in lines if line.startswith("good  layer sha256:")]
    assert layers == lines[3:7]
    assert [line for line in lines[7:-1] if not line.startswith("good  manifest sha256:")] == []
    assert lines[-1] == f"{len(lines) - 1} good, 0 bad"
    assert len(lines) == 3 + 4 + 3 + 1
    (last,) = (line for line in lines if json.loads(images[-1].config)["rootfs"]["diff_ids"][-1] in line)
    assert last.endswith(f"  # {names[images[-1].id]}")
    assert imgfs("verify", "-q", layout).stdout == b""
    assert kept(tmp_path) == [], "nothing is remembered that way"


@pytest.mark.parametrize("indexed", [False, True])
def test_verify_names_the_bad_blob_and_layer(
    imgfs: Imgfs, layout: Path, images: list[TestImage], indexed: bool
) -> None:
    if indexed:
        imgfs("index", layout)
    flip(stored(layout, 2))
    lines = imgfs("verify", layout, status=1).stdout.decode().splitlines()
    (bad,) = [line for line in lines if line.startswith("BAD ")]
    assert stored(layout, 2).name in bad
    diff_ids = json.loads(images[-1].config)["rootfs"]["diff_ids"]
    assert diff_ids[2] in bad
    assert images[-1].tags[0] in bad
    assert lines[-1] == "9 good, 1 bad"
    assert imgfs("verify", "-q", layout, status=1).stdout.decode().splitlines() == [bad]
    assert imgfs("verify", "-q", layout, images[0].id).stdout == b"", "whose layers are good"


def test_verify_finds_what_is_missing(imgfs: Imgfs, layout: Path, images: list[TestImage]) -> None:
    stored(layout, 3).unlink()
    (layout / "blobs/sha256" / images[0].id[7:]).unlink()
    text = imgfs("verify", "-q", layout, status=1).stdout.decode()
    assert all(line.startswith("BAD ") for line in text.splitlines())
    assert len(text.splitlines()) == 2
    assert stored(layout, 3).name in text or json.loads(images[-1].config)["rootfs"]["diff_ids"][3] in text
    assert images[0].id[7:] in text


def test_a_damaged_config_is_bad(imgfs: Imgfs, layout: Path, images: list[TestImage]) -> None:
    flip(layout / "blobs/sha256" / images[1].id[7:])
    text = imgfs("verify", "-q", layout, status=1).stdout.decode()
    assert images[1].id[7:] in text


@pytest.mark.parametrize("kind", ["imgfs", "docker"])
def test_a_damaged_config_of_a_store_is_bad(
    imgfs: Imgfs, tmp_path: Path, archive: Path, images: list[TestImage], kind: str
) -> None:
    store = tmp_path / "store"
    if kind == "docker":
        docker_root(store, images)
        configs = store / "image/overlay2/imagedb/content/sha256"
    else:
        imgfs("load", archive, "--store", store)
        configs = store / "imagedb/content/sha256"
    assert imgfs("verify", "-q", f"{kind}:{store}").stdout == b""
    flip(configs / images[1].id[7:])
    (line,) = imgfs("verify", "-q", f"{kind}:{store}", status=1).stdout.decode().splitlines()
    assert line.startswith("BAD ")
    assert images[1].id in line
