"""Images of registries on the command line, and mounted."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from imgfs.layers import TocUse
from tests.cli.terminal import in_terminal
from tests.conftest import Imgfs, Mount, eventually
from tests.images import TestImage, digest, layer_tar
from tests.layouts import MANIFEST, Layout
from tests.registry.filling import insecure, put_images, put_layout
from tests.registry.quirky import running_quirky
from tests.registry.serving import docker_registry

FILES = {"etc/": None, "etc/passwd": b"root:x:0:0\n", "usr/": None, "usr/large": os.urandom(1 << 20)}
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = TestImage([])
OLD, NEW = (
    TestImage([layer_tar(FILES), layer_tar({name: name.encode()})], ["app/web:1"]) for name in ("old", "new")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def address(folder: Path, address: str) -> str:
    put_images(address, folder / "old", [OLD])
    return address


@pytest.fixture(scope="module")
def many(folder: Path, address: str) -> dict[str, str]:
    """The IDs of the images for two platforms with the tag `many:1`."""
    layout = Layout(folder / "many")
    made = {architecture: layout.image(architecture, architecture) for architecture in ("arm64", "amd64")}
    entries = [
        entry | {"platform": {"os": "linux", "architecture": architecture}}
        for architecture, (_, entry) in made.items()
    ]
    put_layout(address, "many", layout.path, {"1": str(layout.index(*entries)["digest"])})
    return {architecture: image_id for architecture, (image_id, _) in made.items()}


@pytest.fixture
def registry(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """`docker://HOST:PORT`, which files say is without TLS."""
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(folder, address)))
    return f"docker://{address}"


def test_one_spelling_names_an_image_for_every_command(registry: str, imgfs: Imgfs, tmp_path: Path) -> None:
    image = f"{registry}/app/web:1"
    assert imgfs("cat", f"{image}:/etc/passwd").stdout == FILES["etc/passwd"]
    assert imgfs("ls", f"{image}:/").stdout.split() == [b"etc", b"old", b"usr"]
    assert imgfs("find", image, "pass*").stdout == b"/etc/passwd\n"
    assert imgfs("which", f"{image}:/old").stdout.startswith(b"01-")
    assert imgfs("diff", image, image).stdout == b""
    assert imgfs("ls", "-q", "--no-trunc", image).stdout.decode() == f"{OLD.id}\n"
    assert imgfs("layers", "--json", image).stdout.count(b"sha256:") > 1
    imgfs("cp", f"{image}:/etc/passwd", tmp_path / "copied")
    assert (tmp_path / "copied").read_bytes() == FILES["etc/passwd"]
    imgfs("save", "-o", tmp_path / "saved.tar", image)
    assert imgfs("ls", "-q", "--no-trunc", tmp_path / "saved.tar").stdout.decode() == f"{OLD.id}\n"
    assert b" 0 bad\n" in imgfs("verify", image).stdout


def test_fetching_a_layer_is_shown_on_a_terminal(registry: str, imgfs: Imgfs) -> None:
    command = ("find", f"{registry}/app/web:1", "pass*")
    shown = in_terminal(*command)
    assert f"layer {digest(OLD.layers[0])[7:19]} " in shown
    assert "1.1M/1.1M" in shown
    assert shown.endswith("/etc/passwd\n")
    imgfs("cache", "clear")
    assert imgfs(*command).stderr == b""


def test_options_are_spelled_as_of_skopeo(
    address: str, registry: str, many: dict[str, str], imgfs: Imgfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = f"{registry}/many:1"
    form = ("inspect", "-f", "{{.Id}}")
    assert imgfs(*form, image).stdout.decode().strip() == many["amd64"]
    assert imgfs(*form, "--platform", "linux/arm64", image).stdout.decode().strip() == many["arm64"]
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", "/dev/null")
    assert b"--tls-verify=false" in imgfs(*form, image, status=1).stderr
    assert b"--tls-verify=false" in imgfs(*form, "--tls-verify", image, status=1).stderr
    assert imgfs(*form, "--tls-verify=false", image).stdout.decode().strip() == many["amd64"]
    assert imgfs("load", "--tls-verify=false", "--platform=linux/arm64", image).stdout
    assert imgfs("ls", "-q", "--no-trunc", "imgfs:").stdout.decode().strip() == many["arm64"]
    assert imgfs(*form, "--offline", image).stdout.decode().strip() == many["amd64"]
    for toc in TocUse:
        assert imgfs(*form, "--offline", f"--toc={toc}", image).stdout.decode().strip() == many["amd64"]
    assert b"invalid platform" in imgfs(*form, "--platform", "a/b/c/d", image, status=2).stderr


def test_details_of_an_image_are_shown_without_its_layers(registry: str, imgfs: Imgfs) -> None:
    done = imgfs("-v", "inspect", f"{registry}/app/web:1")
    (image,) = json.loads(done.stdout)
    assert image["Id"] == OLD.id
    assert image["RepoTags"] == [f"{registry.removeprefix('docker://')}/app/web:1"]
    assert image["RepoDigests"] == [f"{registry.removeprefix('docker://')}/app/web@{image['Digest']}"]
    assert image["Sources"] == [f"{registry}/app/web:1"]
    sizes = [layer["StoredSize"] for layer in image["Layers"]]
    assert image["Size"] == sum(sizes) > 1 << 20
    for layer in image["Layers"]:
        assert (layer["Size"], layer["Verified"], layer["Index"]) == (None, False, "none")
        assert layer["From"] == image["Sources"][0]
    assert done.stderr.count(b"/blobs/") == 1  # the config
    *requests, sums = done.stderr.decode().splitlines()
    assert image["Stats"]["total"]["requests"] == len(requests) > 2
    assert image["Stats"]["hosts"].keys() == {registry.removeprefix("docker://")}
    assert sums.startswith(f"imgfs: registries: {len(requests)} requests, ")


def test_an_index_is_pushed_found_and_pinned(address: str, folder: Path, registry: str, imgfs: Imgfs) -> None:
    layers = [layer_tar({"indexed": os.urandom(1 << 20)})]
    put_images(address, folder / "indexed", [TestImage(layers, ["indexed:1"])])
    image = f"{registry}/indexed:1"
    said = imgfs("index", "--pin", "pinned", image).stderr.decode()
    assert f" pushed to {registry}/indexed\n" in said
    assert f" pushed as {registry}/indexed:pinned\n" in said

    def level(name: str, *options: str) -> str:
        imgfs("cache", "clear")
        (found,) = json.loads(imgfs("inspect", *options, name).stdout)
        return str(found["Layers"][0]["Index"])

    digest = imgfs("inspect", "-f", "{{.Digest}}", image).stdout.decode().strip()
    assert level(image) == "found"
    assert level(f"{registry}/indexed:pinned") == "pinned"
    assert level(f"{registry}/indexed@{digest}") == "none"
    assert level(f"{registry}/indexed@{digest}", "--index=found") == "found"
    assert level(image, "--index=never") == "none"
    assert level(image, f"--index-repo={address}/other") == "none"
    assert b"is neither never, nor found" in imgfs("inspect", "--index=x", image, status=2).stderr
    assert b"only the index of an image in a registry" in imgfs("index", "--push", "imgfs:", status=2).stderr


def test_what_is_not_there_is_said_in_one_line(registry: str, imgfs: Imgfs) -> None:
    for name in ("app/web:nope", "nope:1"):
        error = imgfs("inspect", f"{registry}/{name}", status=1).stderr.decode()
        assert error == f"imgfs: {registry}/{name}: it is not there (manifest unknown)\n"
    assert b"docker:/var/lib/docker" in imgfs("ls", "docker:///var/lib/docker", status=1).stderr


def test_a_list_of_images_asks_for_no_indexes(registry: str, many: dict[str, str], imgfs: Imgfs) -> None:
    *lines, _ = imgfs("-v", "ls", f"{registry}/many:1").stderr.decode().splitlines()
    # how the registry is reached, by https and then by http; an index, two manifests and two configs
    assert len(lines) == 7, lines


def test_each_request_is_logged_on_a_line(registry: str, imgfs: Imgfs) -> None:
    *lines, _ = imgfs("-v", "inspect", f"{registry}/app/web:1").stderr.decode().splitlines()
    assert {line.split()[1] for line in lines} == {"GET"}
    by_https, *others = lines
    assert " https://" in by_https
    assert all(line.endswith(" s") for line in others)
    assert imgfs("inspect", f"{registry}/app/web:1").stderr == b""


def _stats(top: Path) -> Any:
    return json.loads((top / ".imgfs/stats").read_bytes())


def test_mounting_and_listing_fetch_manifests_and_configs_only(
    registry: str, many: dict[str, str], mount: Mount
) -> None:
    with mount(f"{registry}/many:1", f"{registry}/app/web:1") as top:
        assert sorted(os.listdir(top)) == ["heads", "images", "oci", "tags"]
        images = {*many.values(), OLD.id}
        assert {f"sha256:{name}" for name in os.listdir(top / "images")} == images
        for image in images:
            subprocess.run(["ls", "-l", top / "images" / image[7:]], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["ls", "-lR", top / "tags"], check=True, stdout=subprocess.DEVNULL)
        stats = _stats(top)
        assert set(stats["blobs"]) == images
        # TLS and credentials are tried; then an index, three manifests and three configs; three ways to find indexes
        assert stats["total"]["requests"] <= 9 + 3 * 3
        rootfs = top / "images" / OLD.id[7:] / "rootfs"
        assert (rootfs / "usr/large").read_bytes() == FILES["usr/large"]
        assert set(_stats(top)["blobs"]) > images


def test_a_mount_without_the_registry_shows_what_the_cache_has(
    folder: Path, imgfs: Imgfs, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    with docker_registry(folder / "other") as address:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(folder / "other", address)))
        put_images(address, folder / "other/images", [OLD])
        image = f"docker://{address}/app/web:1"
        imgfs("cat", f"{image}:/etc/passwd")
    with mount(image, options="offline") as top:
        rootfs = top / "images" / OLD.id[7:] / "rootfs"
        assert (rootfs / "old").read_bytes() == b"old"
        assert _stats(top)["total"]["requests"] == 0


_HASTY = """
from imgfs.registry import client
from imgfs.sources import registries
registries.INTERVAL = 0.2
limits = client.Limits(pause=0.02, wait=0.1, patience=5, attempts=1)
client.Limits = lambda: limits
from imgfs.cli.main import main
main()
"""


@contextmanager
def hastily_mounted(reference: str, top: Path) -> Iterator[Path]:
    """A mount that asks its registry often, and does not wait for it; what it writes to standard error."""
    errors = top.parent / "errors"
    command = [sys.executable, "-c", _HASTY, "mount", "-f", reference, str(top)]
    with errors.open("wb") as file, subprocess.Popen(command, stderr=file) as mounting:
        try:
            assert eventually(lambda: os.path.ismount(top)), errors.read_text()
            yield errors
        finally:
            mounting.terminate()


def test_a_mounted_tag_follows_its_registry(
    folder: Path, address: str, registry: str, environment: None, tmp_path: Path
) -> None:
    put_images(address, folder / "moving", [TestImage(OLD.layers, ["moving:1"])])
    top = tmp_path / "mnt"
    top.mkdir()
    with hastily_mounted(f"{registry}/moving:1", top):
        assert os.listdir(top / "images") == [OLD.id[7:]]
        put_images(address, folder / "moved", [TestImage(NEW.layers, ["moving:1"])])
        assert eventually(lambda: os.listdir(top / "images") == [NEW.id[7:]])
        assert os.listdir(top / "images" / NEW.id[7:] / "rootfs") == ["etc", "new", "usr"]


def test_a_registry_that_goes_away_is_logged_once_and_the_mount_stays(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "mnt"
    top.mkdir()
    with running_quirky() as quirky:
        reference = f"docker://{quirky.address}/app:1"
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(tmp_path, quirky.address)))
        config = {"mediaType": CONFIG, "digest": quirky.blob(EMPTY.config), "size": len(EMPTY.config)}
        manifest = json.dumps({"schemaVersion": 2, "config": config, "layers": []}).encode()
        quirky.manifest("app", "1", manifest, MANIFEST)
        with hastily_mounted(reference, top) as errors:
            quirky.faults.statuses = [500] * 1000
            assert eventually(lambda: len(quirky.faults.statuses) < 990)
            assert os.listdir(top / "images") == [EMPTY.id[7:]]
        lines = errors.read_text().splitlines()
    (line,) = [line for line in lines if reference in line]
    assert line.count(reference) == 1
