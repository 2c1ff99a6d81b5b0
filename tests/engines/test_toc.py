"""Layers with tables of contents as tools write them: buildah of each Debian, and ctr-remote of stargz-snapshotter."""

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imgfs.blob import FileBlob
from imgfs.cache import Cache
from imgfs.codec.span_cache import SpanCache
from imgfs.digest import ChainID, DiffID, Digest
from imgfs.layers import BlobLayer, Indexer
from imgfs.layers.toc_layer import TocLayer
from imgfs.layers.toc_pin import Form, pin_of
from tests.conftest import Imgfs
from tests.engines.containerd import running_containerd
from tests.engines.machine import HOST, Machine, machine
from tests.layers.test_toc_layer import TAR, contents, described
from tests.registry.filling import insecure, put_layout
from tests.registry.serving import docker_registry


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with closing(Indexer(Cache(str(tmp_path / "cache"), 1 << 30))) as indexer:
        yield indexer


def document(layout: Path, descriptor: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((layout / "blobs/sha256" / descriptor["digest"][7:]).read_bytes())
    return found


def toc_layer(layout: Path, indexer: Indexer) -> TocLayer:
    """The one layer of the one image of a layout."""
    found = json.loads((layout / "index.json").read_bytes())
    while "manifests" in found:
        found = document(layout, found["manifests"][0])
    (layer,) = found["layers"]
    (diff_id,) = document(layout, found["config"])["rootfs"]["diff_ids"]
    path = layout / "blobs/sha256" / layer["digest"][7:]
    stored = Digest(layer["digest"])
    blob = BlobLayer(ChainID(diff_id), DiffID(diff_id), None, lambda: FileBlob(path), indexer, stored)
    pin = pin_of(layer["annotations"])
    assert pin is not None
    return TocLayer(blob, pin, SpanCache(None))


def check(layout: Path, indexer: Indexer) -> TocLayer:
    """Compare what the table says with what the tar does."""
    layer = toc_layer(layout, indexer)
    tree = layer.tree()
    read = contents(layer, tree)
    assert tree.copies
    assert b"etc/big" in read
    layer.compare()
    whole = toc_layer(layout, indexer)
    with whole.blob.content() as content:
        content.wait_for_index()
    of_tar = whole.tree()
    assert not of_tar.copies
    assert described(tree) == described(of_tar)
    assert read == contents(whole, of_tar)
    return layer


def build(inside: Machine, folder: Path, target: str, *options: str) -> None:
    """An image of the one layer, built by buildah."""
    (folder / "layer.tar").write_bytes(TAR)
    storage = ("--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "vfs")

    def buildah(*arguments: str | Path) -> str:
        line = inside.line("buildah", *storage, *arguments)
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()

    container = buildah("from", "scratch")
    buildah("add", container, folder / "layer.tar", "/")
    buildah("commit", "-q", container, "toc:1")
    buildah("push", "-q", *options, "toc:1", target)


def test_what_buildah_writes_is_read_by_its_table(suite: str, tmp_path: Path, indexer: Indexer) -> None:
    with machine(suite) as inside:
        build(inside, tmp_path, f"oci:{tmp_path}/layout:1", "--compression-format", "zstd:chunked")
    layer = check(tmp_path / "layout", indexer)
    assert layer.pin.form is Form.ZSTD_CHUNKED
    assert layer.pin.has_split is (suite != HOST)  # buildah 1.28 writes none
    if layer.pin.has_split:
        fresh = toc_layer(tmp_path / "layout", indexer)
        with fresh.open() as tar:
            assert DiffID.of(tar.pread(tar.size, 0)) == layer.diff_id
        assert not fresh.failure


FORMS = {
    "estargz": ("--estargz", "--estargz-chunk-size", "65536"),
    "zstdchunked": ("--zstdchunked",),
    "external": ("--estargz", "--estargz-external-toc", "--estargz-keep-diff-id"),
}
KINDS = {"estargz": Form.ESTARGZ, "zstdchunked": Form.ZSTD_CHUNKED}


@pytest.fixture(scope="module")
def converted(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a layout for each of FORMS, made by ctr-remote; that of Debian 12 makes none with another image."""
    folder = tmp_path_factory.mktemp("remote")
    with machine(suite) as inside:
        build(inside, folder, f"docker-archive:{folder}/image.tar:example.com/toc:1")
    with running_containerd(folder, suite) as engine:
        engine.load(folder / "image.tar")
        for form, options in FORMS.items() if suite != HOST else list(FORMS.items())[:2]:
            names = ["example.com/toc:1", f"example.com/toc:{form}"]
            line = engine.inside.line("ctr-remote", "-a", engine.socket, "images", "convert", "--oci")
            subprocess.run([*line, *options, *names], check=True, capture_output=True)
            archive = folder / f"{form}.tar"
            images = [names[1], f"{names[1]}-esgztoc"] if form == "external" else [names[1]]
            engine.ctr("images", "export", "--platform", "linux/amd64", archive, *images)
            (folder / form).mkdir()
            subprocess.run(["tar", "xf", archive, "-C", folder / form], check=True)
    return folder


@pytest.mark.parametrize("form", KINDS)
def test_what_ctr_remote_writes_is_read_by_its_table(form: str, converted: Path, indexer: Indexer) -> None:
    assert check(converted / form, indexer).pin.form is KINDS[form]


def test_a_table_that_ctr_remote_puts_in_another_image_is_found(
    suite: str, converted: Path, imgfs: Imgfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = converted / "external"
    assert layout.exists() is (suite != HOST)
    if not layout.exists():
        return
    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    tags = {each["annotations"]["org.opencontainers.image.ref.name"]: each["digest"] for each in entries}
    with docker_registry(tmp_path / "registry") as address:
        put_layout(address, "toc", layout, tags)
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(tmp_path, address)))
        image = f"docker://{address}/toc:external"
        with tarfile.open(fileobj=io.BytesIO(TAR)) as archive:
            expected = archive.extractfile("etc/big")
            assert expected is not None
            assert imgfs("cat", f"{image}:/etc/big").stdout == expected.read()
        (found,) = json.loads(imgfs("inspect", image).stdout)
        assert [layer["Index"] for layer in found["Layers"]] == ["toc"]
        assert imgfs("verify", image).stdout.endswith(b" 0 bad\n")
