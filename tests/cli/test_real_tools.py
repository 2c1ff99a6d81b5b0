"""Images that other tools made, mounted and compared with what those tools say is in them."""

import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount
from tests.images import TestImage, docker_archive, layer_tar
from tests.tools import require_tool


def _run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def umoci_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout that umoci made: a root file system of this machine's busybox, changed in three layers."""
    tmp_path = tmp_path_factory.mktemp("umoci")
    umoci, busybox = require_tool("umoci"), require_tool("busybox")
    layout, bundle = tmp_path / "umoci", tmp_path / "bundle"
    _run(umoci, "init", "--layout", layout)
    _run(umoci, "new", "--image", f"{layout}:base")
    _run(umoci, "unpack", "--rootless", "--image", f"{layout}:base", bundle)
    root = bundle / "rootfs"
    for number in range(3):
        (root / "bin").mkdir(exist_ok=True)
        (root / f"bin/busybox-{number}").write_bytes(Path(busybox).read_bytes())
        (root / f"link-{number}").symlink_to(f"bin/busybox-{number}")
        if number:
            (root / f"link-{number - 1}").unlink()
        _run(umoci, "repack", "--image", f"{layout}:layer-{number}", bundle)
        _run(
            umoci, "unpack", "--rootless", "--image", f"{layout}:layer-{number}", tmp_path / f"next-{number}"
        )
        bundle = tmp_path / f"next-{number}"
        root = bundle / "rootfs"
    return layout


def _manifests(layout: Path) -> dict[str, dict[str, list[dict[str, str]]]]:
    """Each manifest of a layout by the hex of its image's ID."""
    found = {}
    for entry in json.loads((layout / "index.json").read_text())["manifests"]:
        manifest = json.loads((layout / "blobs/sha256" / entry["digest"][7:]).read_text())
        found[manifest["config"]["digest"][7:]] = manifest
    return found


def _plain_layers(layout: Path, manifest: dict[str, list[dict[str, str]]]) -> list[bytes]:
    """A manifest's layers as gzip and zstd themselves decode them."""
    layers = []
    for layer in manifest["layers"]:
        path = layout / "blobs/sha256" / layer["digest"][7:]
        tool = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}.get(path.read_bytes()[:2])
        command = [require_tool(tool), "-dc", str(path)] if tool else ["cat", str(path)]
        layers.append(subprocess.run(command, capture_output=True, check=True).stdout)
    return layers


def _check_mounted(top: Path, layout: Path) -> None:
    manifests = _manifests(layout)
    assert set(os.listdir(top / "images")) == set(manifests)
    for name, manifest in manifests.items():
        data = (top / "images" / name / "rootfs.tar").read_bytes()
        expected = b"".join(_plain_layers(layout, manifest))
        assert hashlib.sha256(data).digest() == hashlib.sha256(expected).digest()


def test_umoci_layouts_read_as_their_layers(mount: Mount, umoci_layout: Path) -> None:
    assert len(_manifests(umoci_layout)) == 4
    with mount(f"oci:{umoci_layout}", options="tar=verbatim") as top:
        _check_mounted(top, umoci_layout)


@pytest.mark.parametrize("compression", [(), ("gzip",), ("zstd",)])
def test_skopeo_copies_read_as_their_layers(
    mount: Mount, umoci_layout: Path, tmp_path: Path, compression: Sequence[str]
) -> None:
    """The same image in every form that skopeo writes, and with each compression of its layers."""
    skopeo = require_tool("skopeo")
    options = [f"--dest-compress-format={name}" for name in compression] + ["--dest-compress"] * len(
        compression
    )
    source = f"oci:{umoci_layout}:layer-2"
    _run(skopeo, "copy", "-q", *options, source, f"oci:{tmp_path / 'oci'}:t")
    _run(skopeo, "copy", "-q", *options, source, f"oci-archive:{tmp_path / 'oci.tar'}:t")
    _run(skopeo, "copy", "-q", source, f"docker-archive:{tmp_path / 'docker.tar'}:example/t:1")
    ((name, manifest),) = _manifests(tmp_path / "oci").items()
    expected = b"".join(_plain_layers(tmp_path / "oci", manifest))
    for form in (f"oci:{tmp_path / 'oci'}:t", f"oci-archive:{tmp_path / 'oci.tar'}"):
        with mount(form, options="tar=verbatim") as top:
            assert os.listdir(top / "images") == [name]
            assert (top / "images" / name / "rootfs.tar").read_bytes() == expected
    with mount(tmp_path / "docker.tar") as top:
        (image,) = os.listdir(top / "images")
        with tarfile.open(top / "images" / image / "rootfs.tar") as archive:
            names = archive.getnames()
        assert "bin/busybox-2" in names
        assert ".wh.link-1" in names


@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_buildah_images_hold_what_was_put_in(mount: Mount, tmp_path: Path, form: str) -> None:
    """Two layers made by `buildah from scratch`, pushed in each form."""
    buildah = require_tool("buildah")
    store = ["--root", str(tmp_path / "g"), "--runroot", str(tmp_path / "r"), "--storage-driver=vfs"]
    (tmp_path / "first").write_bytes(os.urandom(500_000))
    (tmp_path / "second").write_text("second\n")
    container = _run(buildah, *store, "from", "scratch")
    _run(buildah, *store, "copy", container, tmp_path / "first", "/data/first")
    one = _run(buildah, *store, "commit", "-q", container)
    child = _run(buildah, *store, "from", "--pull-never", one)
    _run(buildah, *store, "copy", child, tmp_path / "second", "/data/second")
    _run(buildah, *store, "commit", "-q", child, "localhost/two:1")
    target = f"{form}:{tmp_path / 'out'}:localhost/two:1" if form != "oci" else f"oci:{tmp_path / 'out'}:two"
    _run(buildah, *store, "push", "-q", "localhost/two:1", target)
    with mount(f"{form}:{tmp_path / 'out'}") as top:
        (image,) = os.listdir(top / "images")
        path = top / "images" / image / "rootfs.tar"
        with tarfile.open(path) as archive:
            for name in ("first", "second"):
                member = archive.extractfile(f"data/{name}")
                assert member is not None
                assert member.read() == (tmp_path / name).read_bytes()
        assert (
            len(json.loads((top / "images" / image / "config.json").read_text())["rootfs"]["diff_ids"]) == 2
        )


@pytest.mark.parametrize(
    ("name", "number"),
    [("x:1", 0), ("busybox", 0), ("library/busybox", 0), ("docker.io/y:1", 1), ("@1", 1), ("@2", None)],
)
def test_archives_are_chosen_from_as_skopeo_does(
    imgfs: Imgfs, tmp_path: Path, name: str, number: int | None
) -> None:
    tags = (["x:1", "busybox:latest"], ["docker.io/library/y:1"])
    images = [TestImage([layer_tar({str(of): b""})], names) for of, names in enumerate(tags)]
    reference = f"docker-archive:{docker_archive(tmp_path / 'two.tar', images)}:{name}"
    command = (require_tool("skopeo"), "inspect", "--config", "--raw", reference)
    skopeo = subprocess.run(command, capture_output=True, check=False)
    if number is None:
        assert skopeo.returncode == 1
        imgfs("ls", reference, status=1)
        return
    assert skopeo.stdout == images[number].config
    assert [row["id"] for row in json.loads(imgfs("ls", "--json", reference).stdout)] == [images[number].id]
