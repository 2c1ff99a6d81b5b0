"""What is damaged in a store of ours is noticed before it is trusted, and made good by what is loaded."""

import json
import random
import shutil
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.damage import DAMAGES, flip
from tests.images import TestImage, digest, docker_archive, layer_tar

IMAGES = [
    TestImage([layer_tar({"a": b"a" * 5000}), layer_tar({"b": b"b" * 5000})], ["a:1"]),
    TestImage([layer_tar({"a": b"a" * 5000}), layer_tar({"c": b"c" * 5000})], ["c:1", "c:2"]),
]


@pytest.fixture
def loaded(imgfs: Imgfs, tmp_path: Path) -> Path:
    """A store with two images that share a layer; `both.tar` lies beside it."""
    imgfs("load", docker_archive(tmp_path / "both.tar", IMAGES), "--store", tmp_path / "store")
    return tmp_path / "store"


def _check_well(imgfs: Imgfs, store: Path) -> None:
    assert imgfs("verify", "-q", f"imgfs:{store}").stdout == b""
    for image in IMAGES:
        for tag in image.tags:
            assert imgfs("export", "--store", store, tag, "--tar", "verbatim").stdout == image.verbatim


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("folder", ["blobs/sha256", "layers/sha256", "imagedb/content/sha256"])
def test_load_makes_good_what_is_damaged(
    imgfs: Imgfs, tmp_path: Path, loaded: Path, folder: str, how: str
) -> None:
    for path in sorted((loaded / folder).iterdir())[:2]:
        DAMAGES[how](path)
    shutil.rmtree(tmp_path / "cache")
    if how != "link":
        assert imgfs("verify", "-q", f"imgfs:{loaded}", status=1).stdout
    imgfs("load", tmp_path / "both.tar", "--store", loaded)
    assert not any(path.is_symlink() for path in loaded.rglob("*"))
    _check_well(imgfs, loaded)


def test_load_makes_good_what_any_bit_has_damaged(imgfs: Imgfs, tmp_path: Path, loaded: Path) -> None:
    rng = random.Random(4)
    files = [path for path in loaded.rglob("*") if path.is_file() and path.stat().st_size > 2]
    for path in files:
        flip(path, rng.randrange(path.stat().st_size * 8))
    imgfs("load", tmp_path / "both.tar", "--store", loaded)
    _check_well(imgfs, loaded)


def test_a_record_that_is_of_another_layer_is_not_trusted(imgfs: Imgfs, tmp_path: Path, loaded: Path) -> None:
    """Its blob is sound, but decodes to something else."""
    first, second = (digest(layer) for layer in IMAGES[0].layers)
    record = loaded / "layers/sha256" / first[7:]
    stolen = json.loads(record.read_text()) | {"blob": second}
    record.write_text(json.dumps(stolen))
    imgfs("verify", "-q", f"imgfs:{loaded}", status=1)
    imgfs("load", tmp_path / "both.tar", "--store", loaded)
    _check_well(imgfs, loaded)


def test_import_refuses_a_parent_that_is_damaged_and_names_its_layer(
    imgfs: Imgfs, tmp_path: Path, loaded: Path
) -> None:
    (tmp_path / "new").mkdir()
    damaged = loaded / "blobs/sha256" / digest(IMAGES[0].layers[1])[7:]
    flip(damaged)
    done = imgfs("import", tmp_path / "new", "--parent", "a:1", "--store", loaded, status=1)
    assert damaged.name in done.stderr.decode()
    imgfs("import", tmp_path / "new", "--parent", "c:1", "--store", loaded)


def test_import_makes_good_a_blob_that_it_brings(imgfs: Imgfs, tmp_path: Path, loaded: Path) -> None:
    layer = IMAGES[0].layers[1]
    (tmp_path / "layer.tar").write_bytes(layer)
    flip(loaded / "blobs/sha256" / digest(layer)[7:])
    imgfs("import", tmp_path / "layer.tar", "--store", loaded)
    _check_well(imgfs, loaded)


def test_loading_again_does_not_write_what_is_sound(imgfs: Imgfs, tmp_path: Path, loaded: Path) -> None:
    blobs = loaded / "blobs/sha256"
    before = {path.name: path.stat().st_ino for path in blobs.iterdir()}
    imgfs("load", tmp_path / "both.tar", "--store", loaded)
    assert {path.name: path.stat().st_ino for path in blobs.iterdir()} == before
