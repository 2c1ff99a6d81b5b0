"""Images from public bug reports. Each docstring names the report, and what went wrong in it.

Stacks of layers of such reports are in `tests.tree.test_overlay_as_reported`.
"""

import io
import json
import tarfile
from pathlib import Path

from tests.conftest import Imgfs
from tests.images import TestImage, digest, layer_tar

LOWER, UPPER = layer_tar({"lower": b"l"}), layer_tar({"upper": b"u"})
IMAGE = TestImage([LOWER, UPPER])


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_a_layer_without_a_path_is_missing_and_no_other(imgfs: Imgfs, tmp_path: Path) -> None:
    """containers/podman#8132: archives of a build leave out layers that the engine has; Docker loads them there."""
    item = {"Config": "config.json", "RepoTags": ["some:1"], "Layers": ["", "upper.tar"]}
    members = {"config.json": IMAGE.config, "upper.tar": UPPER, "manifest.json": json.dumps([item]).encode()}
    path = archive(tmp_path / "x.tar", members)
    assert b"some:1" in imgfs("ls", path).stdout
    good, bad = imgfs("verify", path, status=1).stdout.splitlines()[1:3][::-1]
    assert good.startswith(f"good  layer {digest(UPPER)}".encode())
    assert bad.startswith(f"BAD   layer {digest(LOWER)}: {path}: no member ''".encode())
    assert b"(some:1) is not loaded" in imgfs("load", path, status=1).stderr


def test_an_archive_whose_oci_manifest_has_no_layers_is_read_by_its_other_manifest(
    imgfs: Imgfs, tmp_path: Path
) -> None:
    """moby/moby#47065: docker save of 25.0.0 wrote such; read as an OCI layout, the image is broken and named."""
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": IMAGE.id,
        "size": len(IMAGE.config),
    }
    manifest = json.dumps({"schemaVersion": 2, "config": config, "layers": []}).encode()
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(manifest),
        "size": len(manifest),
        "annotations": {"io.containerd.image.name": "docker.io/library/some:1"},
    }
    place = {blob: f"blobs/sha256/{digest(blob)[7:]}" for blob in (IMAGE.config, manifest, LOWER, UPPER)}
    item = {"Config": place[IMAGE.config], "RepoTags": ["some:1"], "Layers": [place[LOWER], place[UPPER]]}
    members = {name: blob for blob, name in place.items()} | {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
        "manifest.json": json.dumps([item]).encode(),
    }
    path = archive(tmp_path / "x.tar", members)
    assert imgfs("find", "--source", path, "some:1", "*").stdout == b"/lower\n/upper\n"
    (row,) = json.loads(imgfs("ls", "--broken", "--json", f"oci-archive:{path}", status=3).stdout)
    assert row["problem"].startswith(
        f"image {IMAGE.id}: its layers are missing: it has 0 layers where its config"
    )
