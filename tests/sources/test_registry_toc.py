"""Images in a registry whose layers have tables of contents, read through the source."""

import json
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from imgfs.cache import Cache
from imgfs.layers import TocUse
from imgfs.registry.configuration import Configuration
from imgfs.rootfs import differences
from imgfs.sources.chosen import ChosenImage
from imgfs.sources.lookup import choose, image_meant
from imgfs.sources.opening import Opening
from imgfs.sources.registries import Registries
from tests.chunked import Chunked, estargz, zstd_chunked
from tests.images import TestImage, layer_tar
from tests.layouts import Layout
from tests.registry.filling import put_layout

NOISE = random.Random(5)
FILES: dict[str, bytes | None] = {f"usr/lib/{number}": NOISE.randbytes(300_000) for number in range(12)}
TAR = layer_tar({"usr": None, "usr/lib": None, **FILES, "usr/lib/os-release": b"NAME=x\n"})
LATER = layer_tar(
    {
        "usr": None,
        "usr/lib": None,
        **FILES,
        "usr/lib/3": NOISE.randbytes(300_000),
        "usr/lib/os-release": b"NAME=y\n",
    }
)
FORMS = {"estargz": estargz(TAR), "chunked": zstd_chunked(TAR)}
EXTERNAL_OF_LATER = estargz(LATER, has_external_toc=True)
CHANGED = {"estargz": estargz(LATER), "chunked": zstd_chunked(LATER)}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, address: str) -> str:
    folder = tmp_path_factory.mktemp("layouts")
    for name, made in FORMS.items():
        put(folder / name, address, name, made)
    for name, made in CHANGED.items():
        put(folder / f"later-{name}", address, f"later-{name}", made)
    return address


def put(folder: Path, address: str, name: str, made: Chunked) -> None:
    layout = Layout(folder)
    config = layout.blob(TestImage([made.tar]).config) | {
        "mediaType": "application/vnd.oci.image.config.v1+json"
    }
    kind = "application/vnd.oci.image.layer.v1.tar+" + ("gzip" if name.endswith("estargz") else "zstd")
    layer = layout.blob(made.stored, mediaType=kind, annotations=made.annotations)
    manifest = layout.blob(json.dumps({"schemaVersion": 2, "config": config, "layers": [layer]}).encode())
    put_layout(address, name, layout.path, {"1": str(manifest["digest"])})


class Reached:
    """A source that is reached without TLS, and what that has cost."""

    def __init__(self, folder: Path, address: str, toc: TocUse = TocUse.ANY) -> None:
        cache = Cache(str(folder), 1 << 30)
        self.registries = Registries(cache, lambda: Configuration.load(tls_verify=False), toc=toc)
        self.opening = Opening(cache, registries=self.registries)
        self.address = address

    def image(self, name: str) -> Any:
        return choose(image_meant, [f"docker://{self.address}/{name}:1"], self.opening)

    def bytes_of(self, made: Chunked) -> int:
        blobs: Any = self.registries.stats.as_dict()["blobs"]
        return int(blobs.get(made.digest, {}).get("bytes", 0))


def listed(chosen: ChosenImage) -> set[str]:
    with chosen.root_fs() as root:
        return {path for path, _ in root.walk()}


def read(chosen: ChosenImage, path: str) -> bytes:
    with chosen.root_fs() as root, root.open(path) as file:
        return file.read()


@pytest.mark.parametrize("name", FORMS)
def test_listing_and_reading_one_file_fetch_little(name: str, address: str, tmp_path: Path) -> None:
    made, reached = FORMS[name], Reached(tmp_path / "cache", address)
    with reached.image(name) as (chosen,):
        assert listed(chosen) == {f"/{each}" for each in ("usr", "usr/lib", "usr/lib/os-release", *FILES)}
        assert reached.bytes_of(made) < 140_000
        assert read(chosen, "/usr/lib/os-release") == b"NAME=x\n"
        assert read(chosen, "/usr/lib/7") == FILES["usr/lib/7"]
        assert reached.bytes_of(made) < 600_000


@pytest.mark.parametrize("name", FORMS)
def test_a_second_process_asks_for_no_part_of_a_layer(name: str, address: str, tmp_path: Path) -> None:
    made = FORMS[name]
    for _ in range(2):
        reached = Reached(tmp_path / "cache", address)
        with reached.image(name) as (chosen,):
            assert len(listed(chosen)) == 3 + len(FILES)
            assert read(chosen, "/usr/lib/os-release") == b"NAME=x\n"
            with chosen.layers.open_one(0) if name == "chunked" else nullcontext() as tar:
                assert tar is None or tar.pread(100, 5000) == TAR[5000:5100]
    assert reached.bytes_of(made) == 0


def test_without_tables_the_layer_is_read_whole(address: str, tmp_path: Path) -> None:
    made, reached = FORMS["estargz"], Reached(tmp_path / "cache", address, TocUse.TARSPLIT)
    with reached.image("estargz") as (chosen,):
        assert read(chosen, "/usr/lib/os-release") == b"NAME=x\n"
        assert reached.bytes_of(made) >= len(made.stored)
    reached = Reached(tmp_path / "other", address, TocUse.TARSPLIT)
    with reached.image("chunked") as (chosen,):
        assert read(chosen, "/usr/lib/os-release") == b"NAME=x\n"
        assert reached.bytes_of(FORMS["chunked"]) < 140_000


def test_a_tar_made_by_its_tar_split_is_the_same(address: str, tmp_path: Path) -> None:
    reached = Reached(tmp_path / "cache", address)
    with reached.image("chunked") as (chosen,), chosen.layers.open_one(0) as tar:
        assert tar.pread(1000, 5000) == TAR[5000:6000]
        assert reached.bytes_of(FORMS["chunked"]) < 700_000
        assert tar.pread(tar.size, 0) == TAR


@pytest.mark.parametrize("name", FORMS)
def test_two_images_are_compared_by_their_tables(name: str, address: str, tmp_path: Path) -> None:
    found = {}
    for toc in (TocUse.ANY, TocUse.NEVER):
        reached = Reached(tmp_path / toc, address, toc)
        with reached.image(name) as (one,), reached.image(f"later-{name}") as (other,):
            with one.root_fs() as before, other.root_fs() as after:
                found[toc] = [(each.path, list(each.differs)) for each in differences(before, after)]
        if toc is TocUse.ANY:
            assert reached.bytes_of(FORMS[name]) < 140_000
            assert reached.bytes_of(CHANGED[name]) < 140_000
    # where the tar of eStargz is read whole, the table is a file, too
    assert found[TocUse.ANY] == [each for each in found[TocUse.NEVER] if each[0] != "/stargz.index.json"]
    assert found[TocUse.ANY] == [("/usr/lib/3", ["content"]), ("/usr/lib/os-release", ["content"])]


def put_toc(folder: Path, address: str, made: Chunked, toc: bytes) -> None:
    """The image with a table that stargz-snapshotter makes beside that of an eStargz layer without one."""
    layout = Layout(folder)
    config = layout.blob(b"{}") | {"mediaType": "application/vnd.oci.image.config.v1+json"}
    annotations = {"containerd.io/snapshot/stargz/layer.digest": made.digest}
    layer = layout.blob(toc, mediaType="application/vnd.oci.image.layer.v1.tar+gzip", annotations=annotations)
    manifest = layout.blob(json.dumps({"schemaVersion": 2, "config": config, "layers": [layer]}).encode())
    put_layout(address, "external-estargz", layout.path, {"1-esgztoc": str(manifest["digest"])})


def test_a_table_in_an_image_of_its_own_is_found_and_compared_with_its_digest(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = estargz(TAR, has_external_toc=True)
    put(tmp_path / "image", address, "external-estargz", made)
    reached = Reached(tmp_path / "none", address)
    with reached.image("external-estargz") as (chosen,):
        assert read(chosen, "/usr/lib/os-release") == b"NAME=x\n"
        assert reached.bytes_of(made) >= len(made.stored)
    assert "it is in an image of its own: no image has the one of" in caplog.text
    put_toc(tmp_path / "other", address, made, EXTERNAL_OF_LATER.toc)
    reached = Reached(tmp_path / "forged", address)
    with reached.image("external-estargz") as (chosen,):
        assert read(chosen, "/usr/lib/os-release") == b"NAME=x\n"
        assert reached.bytes_of(made) >= len(made.stored)
    put_toc(tmp_path / "toc", address, made, made.toc)
    reached = Reached(tmp_path / "cache", address)
    with reached.image("external-estargz") as (chosen,):
        assert listed(chosen) == {f"/{each}" for each in ("usr", "usr/lib", "usr/lib/os-release", *FILES)}
        assert read(chosen, "/usr/lib/7") == FILES["usr/lib/7"]
        assert 0 < reached.bytes_of(made) < 600_000
