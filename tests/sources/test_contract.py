"""What every source does alike, whatever its format: each runs through the same tests."""

import gzip
import hashlib
import io
import json
import lzma
import os
import random
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zstandard

from imgfs.digest import ImageID
from imgfs.layers import chain_ids
from imgfs.own.loading import load_image, parents_first
from imgfs.own.writer import Writer
from imgfs.sources import Source, open_source
from imgfs.sources.own.layout import Layout
from imgfs.sources.union import Union
from imgfs.view import RootDirectory, ViewOptions
from tests.conftest import eventually
from tests.engines.containerd import archives, running_containerd
from tests.engines.engine import run, running_docker
from tests.engines.machine import machine
from tests.images import TestImage, digest, docker_archive, family, new_docker_archive, oci_layout
from tests.indexing import indexing, no_progress
from tests.registry.filling import insecure, put_images
from tests.registry.serving import docker_registry
from tests.splitting import docker_root, graph_root
from tests.tools import require_tool
from tests.view.conftest import content, copy_out, find

Maker = Callable[[Path, list[TestImage]], str]


def _docker_archive(folder: Path, images: list[TestImage]) -> str:
    return f"docker-archive:{docker_archive(folder / 'old.tar', images)}"


def _new_docker_archive(folder: Path, images: list[TestImage]) -> str:
    return f"docker-archive:{new_docker_archive(folder / 'new.tar', images)}"


def _new_docker_archive_as_oci(folder: Path, images: list[TestImage]) -> str:
    return f"oci-archive:{new_docker_archive(folder / 'new.tar', images)}"


def _oci(folder: Path, images: list[TestImage]) -> str:
    return f"oci:{oci_layout(folder / 'layout', images)}"


def _oci_archive(folder: Path, images: list[TestImage]) -> str:
    layout = oci_layout(folder / "layout", images)
    with tarfile.open(folder / "layout.tar", "w") as archive:
        archive.add(layout, ".")
    return f"oci-archive:{folder / 'layout.tar'}"


def _compressed(make: Maker, compress: Callable[[bytes], bytes]) -> Maker:
    def compressed(folder: Path, images: list[TestImage]) -> str:
        scheme, _, path = make(folder, images).partition(":")
        packed = Path(f"{path}.packed")
        packed.write_bytes(compress(Path(path).read_bytes()))
        return f"{scheme}:{packed}"

    return compressed


def _own(folder: Path, images: list[TestImage]) -> str:
    with indexing(folder) as indexer, Writer(Layout(str(folder / "store")), indexer) as writer:
        archive = open_source(_docker_archive(folder, images), indexer)
        for image_id in parents_first(archive):
            load_image(archive, image_id, writer, no_progress)
        archive.close()
    return f"imgfs:{folder / 'store'}"


def _skopeo(destination: str, *options: str) -> Maker:
    def make(folder: Path, images: list[TestImage]) -> str:
        skopeo = require_tool("skopeo")
        layout = oci_layout(folder / "layout", images)
        for image in images:
            for tag in image.tags:
                target = f"{destination}:{folder / 'copy'}:{tag}"
                command = [skopeo, "copy", "-q", *options, f"oci:{layout}:{tag}", target]
                subprocess.run(command, check=True)
        return f"{destination}:{folder / 'copy'}"

    return make


def _containerd(folder: Path, images: list[TestImage]) -> str:
    (folder / "archives").mkdir()
    with running_containerd(folder) as running:
        for archive in archives(folder / "archives", images):
            running.load(archive)
    return f"containerd:{running.root}"


def _docker(driver: str) -> Maker:
    def make(folder: Path, images: list[TestImage]) -> str:
        with running_docker(folder, driver) as engine:
            engine.load(docker_archive(folder / "family.tar", images))
        return engine.source

    return make


def _containers_storage(driver: str) -> Maker:
    def make(folder: Path, images: list[TestImage]) -> str:
        archive = docker_archive(folder / "family.tar", images)
        with tempfile.TemporaryDirectory(prefix="imgfs-") as short, machine() as inside:
            for image in images:
                for tag in image.tags:
                    target = f"containers-storage:[{driver}@{folder / 'store'}+{short}]{tag}"
                    run(*inside.line("skopeo", "copy", "-q", f"docker-archive:{archive}:{tag}", target))
        return f"containers-storage:{folder / 'store'}"

    return make


def _registry(folder: Path, images: list[TestImage]) -> str:
    """The repositories of a registry, which is stopped by `made`."""
    address = (folder / "address").read_text()
    put_images(address, folder / "layout", images)
    return f"docker://{address}/"


MAKERS: dict[str, Maker] = {
    "docker-archive": _docker_archive,
    "docker-archive-new": _new_docker_archive,
    "docker-archive-new-as-oci": _new_docker_archive_as_oci,
    "oci": _oci,
    "oci-archive": _oci_archive,
    "docker-archive-gzip": _compressed(_docker_archive, gzip.compress),
    "docker-archive-new-xz": _compressed(_new_docker_archive, lzma.compress),
    "oci-archive-zstd": _compressed(_oci_archive, zstandard.compress),
    "imgfs": _own,
    "containerd": _containerd,
    "docker-overlay2": _docker("overlay2"),
    "docker-vfs": _docker("vfs"),
    "containers-storage-overlay": _containers_storage("overlay"),
    "containers-storage-vfs": _containers_storage("vfs"),
    "skopeo-oci": _skopeo("oci"),
    "skopeo-oci-gzip": _skopeo("oci", "--dest-compress", "--dest-compress-format=gzip"),
    "skopeo-oci-zstd": _skopeo("oci", "-f", "oci", "--dest-compress", "--dest-compress-format=zstd"),
    "registry": _registry,
}
KEEPS_PARENTS = (
    "docker-archive",
    "docker-archive-new",
    "docker-archive-gzip",
    "docker-archive-new-xz",
    "imgfs",
    "docker-overlay2",
    "docker-vfs",
)
WRITES_DOMAINS = ("containers-storage-overlay", "containers-storage-vfs")


@pytest.fixture(scope="module")
def images() -> list[TestImage]:
    return family()


@pytest.fixture(scope="module", params=MAKERS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, images: list[TestImage]
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        if request.param == "registry":
            address = stack.enter_context(docker_registry(folder))
            (folder / "address").write_text(address)
            environment = stack.enter_context(pytest.MonkeyPatch.context())
            environment.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(folder, address)))
        yield MAKERS[request.param](folder, images)


@pytest.fixture
def source(made: str, tmp_path: Path) -> Iterator[Source]:
    with indexing(tmp_path) as indexer:
        source = open_source(made, indexer)
        yield source
        source.close()


def test_has_every_image_and_no_other(source: Source, images: list[TestImage]) -> None:
    assert set(source.store.map()) == {image.id for image in images}


def test_configs_are_byte_for_byte_what_their_ids_say(source: Source, images: list[TestImage]) -> None:
    for image in images:
        assert source.store.get(ImageID(image.id)).raw_config == image.config


def test_tags_lead_to_their_images(
    source: Source, images: list[TestImage], request: pytest.FixtureRequest
) -> None:
    domain = "docker.io/" if request.node.callspec.params["made"] in WRITES_DOMAINS else ""
    if source.reference.startswith("docker://"):
        domain = source.reference.removeprefix("docker://")
    assert source.tags == {domain + tag: image.id for image in images for tag in image.tags}


def test_every_layer_hashes_to_its_diff_id(source: Source, images: list[TestImage]) -> None:
    for image_id in source.store.map():
        for chain_id in chain_ids(source.store.get(image_id).diff_ids):
            layer = source.layers.get(chain_id)
            with layer.open() as blob:
                assert "sha256:" + hashlib.sha256(blob.pread(1 << 30, 0)).hexdigest() == layer.diff_id
            source.layers.release(layer)


def test_tar_stream_is_the_plain_concatenation(source: Source, images: list[TestImage]) -> None:
    for image in images:
        with source.store.get_tar_seek_stream(ImageID(image.id)) as stream:
            assert stream.read() == image.verbatim


def test_tar_stream_reads_any_range(source: Source, images: list[TestImage]) -> None:
    image = images[-1]
    rng = random.Random(1)
    with source.store.get_tar_seek_stream(ImageID(image.id)) as stream:
        for _ in range(100):
            offset, size = rng.randrange(len(image.verbatim) + 10), rng.choice([1, 512, 4096, 100_000])
            stream.seek(offset)
            assert stream.read(size) == image.verbatim[offset : offset + size]
        assert stream.seek(0, os.SEEK_END) == len(image.verbatim)


def test_parents_are_those_recorded(
    source: Source, made: str, images: list[TestImage], request: pytest.FixtureRequest
) -> None:
    expected = {image.id: image.parent.id for image in images if image.parent}
    if request.node.callspec.params["made"] not in KEEPS_PARENTS:
        expected = {}
    assert {
        image_id: child_of for child_of in source.store.map() for image_id in source.store.children(child_of)
    } == expected


def test_a_bare_path_is_recognised(made: str, tmp_path: Path) -> None:
    scheme, _, path = made.partition(":")
    path = made if made.startswith("docker://") else path
    with indexing(tmp_path) as indexer, closing(open_source(path, indexer)) as source:
        assert source.reference.partition(":")[0] in (scheme, "docker-archive")


def test_nothing_changes_while_nothing_changes(source: Source) -> None:
    assert eventually(lambda: not source.refresh())
    assert not source.refresh()


def test_every_layer_is_released_at_the_end(source: Source) -> None:
    for image_id in source.store.map():
        source.store.get_tar_seek_stream(image_id).close()
    before = source.layers.references()
    for image_id in source.store.map():
        source.store.get_tar_seek_stream(image_id).close()
    assert source.layers.references() == before


KEEPS_MANIFESTS = {
    "docker-archive-new",
    "docker-archive-new-as-oci",
    "oci",
    "oci-archive",
    "docker-archive-new-xz",
    "oci-archive-zstd",
    "containerd",
    "skopeo-oci",
    "skopeo-oci-gzip",
    "skopeo-oci-zstd",
    "registry",
}


def test_images_are_shown_as_layouts_and_as_docker_saves_them(
    source: Source, images: list[TestImage], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Every tool gets the same image; where there is a manifest, with the blobs that it names."""
    with closing(RootDirectory(Union([source]), ViewOptions())) as root:
        for image in images:
            shown = find(root, f"images/{image.id.hex}")
            layout, archive = tmp_path / f"{image.id.hex}.oci", tmp_path / f"{image.id.hex}.tar"
            copy_out(shown, "oci", layout)
            archive.write_bytes(content(shown, "docker.tar"))
            (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
            manifest = (layout / "blobs/sha256" / entry["digest"][7:]).read_bytes()
            if request.node.callspec.params["made"] in KEEPS_MANIFESTS:
                assert manifest == content(shown, "manifest.json")
            else:
                layers = [layer["digest"] for layer in json.loads(manifest)["layers"]]
                assert layers == [digest(layer) for layer in image.layers]
            for copy in (f"oci:{layout}", f"docker-archive:{archive}"):
                target = tmp_path / f"{image.id.hex}.copy"
                run(require_tool("skopeo"), "copy", "-q", copy, f"dir:{target}")
                assert json.loads((target / "manifest.json").read_text())["config"]["digest"] == image.id
                with indexing(tmp_path) as indexer, closing(open_source(copy, indexer)) as again:
                    assert set(again.store.map()) == {image.id}
                    with again.store.get_tar_seek_stream(image.id) as stream:
                        assert stream.read() == image.verbatim


def _inside_archive(archive: Path, name: str, change: Callable[[Any], object]) -> None:
    """Change a JSON document that is a member of an archive."""
    with tarfile.open(archive) as tar:
        members = [(member, tar.extractfile(member)) for member in tar]
        contents = [(member, file.read() if file else b"") for member, file in members]
    with tarfile.open(archive, "w") as tar:
        for member, content in contents:
            if member.name in (name, f"./{name}"):
                content = json.dumps(change(json.loads(content))).encode()
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _in_file(path: Path, change: Callable[[Any], object]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


Items = Callable[[list[Any]], list[Any]]


def _odd_docker(folder: Path, images: list[TestImage], more: Items) -> str:
    root = docker_root(folder / "docker", images)
    _in_file(root / "image/overlay2/repositories.json", partial(_with_odd_names, more))
    return f"docker:{root}"


def _odd_own(folder: Path, images: list[TestImage], more: Items) -> str:
    reference = _own(folder, images)
    _in_file(folder / "store/repositories.json", partial(_with_odd_names, more))
    return reference


def _with_odd_names(more: Items, document: Any) -> object:
    (odd, *_) = more([])
    return {"Repositories": document["Repositories"] | {"odd": odd, "odder": {"odder:1": odd}}}


def _odd_graph_root(folder: Path, images: list[TestImage], more: Items) -> str:
    root = graph_root(folder / "graph", images)
    for name in ("images/images.json", "layers/layers.json"):
        _in_file(root / f"overlay-{name}", more)
    return f"containers-storage:{root}"


def _odd_layout(folder: Path, images: list[TestImage], more: Items) -> str:
    layout = oci_layout(folder / "layout", images)
    _in_file(layout / "index.json", lambda index: index | {"manifests": more(index["manifests"])})
    return f"oci:{layout}"


def _odd_nested(folder: Path, images: list[TestImage], more: Items) -> str:
    """The index with odd items is below another one; names are those of the first image of each."""
    layout = oci_layout(folder / "layout", images)
    entries = json.loads((layout / "index.json").read_text())["manifests"]
    nested = []
    for entry in entries:
        data = json.dumps({"manifests": more([entry])}).encode()
        (layout / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
        nested.append(entry | {"digest": digest(data), "size": len(data)})
    (layout / "index.json").write_text(json.dumps({"manifests": nested}))
    return f"oci:{layout}"


def _odd_archive(folder: Path, images: list[TestImage], more: Items) -> str:
    archive = docker_archive(folder / "old.tar", images)
    _inside_archive(archive, "manifest.json", more)
    return f"docker-archive:{archive}"


def _odd_new_archive(folder: Path, images: list[TestImage], more: Items) -> str:
    archive = new_docker_archive(folder / "new.tar", images)
    _inside_archive(archive, "manifest.json", more)
    return f"docker-archive:{archive}"


ODD_SOURCES: dict[str, Callable[[Path, list[TestImage], Items], str]] = {
    "docker": _odd_docker,
    "imgfs": _odd_own,
    "containers-storage": _odd_graph_root,
    "oci": _odd_layout,
    "oci-nested": _odd_nested,
    "docker-archive": _odd_archive,
    "docker-archive-new": _odd_new_archive,
}


@pytest.mark.parametrize("maker", ODD_SOURCES)
@pytest.mark.parametrize("odd", [5, "text", [], [[]], {"Config": 5, "digest": [], "id": {}}], ids=str)
def test_an_odd_item_of_a_list_is_skipped_with_a_line_and_takes_no_other_along(
    tmp_path: Path, images: list[TestImage], maker: str, odd: object
) -> None:
    reference = ODD_SOURCES[maker](tmp_path, images, lambda items: [odd, *items, odd])
    with indexing(tmp_path) as indexer, closing(open_source(reference, indexer)) as source:
        assert set(source.store.map()) == {image.id for image in images}
        assert source.tags == {tag: image.id for image in images for tag in image.tags}
        assert source.problems
        for image in images:
            with source.store.get_tar_seek_stream(ImageID(image.id)) as stream:
                assert stream.read() == image.verbatim


@pytest.mark.parametrize("maker", ODD_SOURCES)
def test_null_in_place_of_a_list_item_is_an_odd_item(
    tmp_path: Path, images: list[TestImage], maker: str
) -> None:
    reference = ODD_SOURCES[maker](tmp_path, images, lambda items: [None, *items])
    with indexing(tmp_path) as indexer, closing(open_source(reference, indexer)) as source:
        assert source.tags == {tag: image.id for image in images for tag in image.tags}


@pytest.mark.parametrize("maker", ODD_SOURCES)
def test_keys_of_lists_are_read_in_any_case(tmp_path: Path, images: list[TestImage], maker: str) -> None:
    """As Go reads them."""

    def shout(items: list[Any]) -> list[Any]:
        return [{key.upper(): value for key, value in item.items()} for item in items] or [None]

    reference = ODD_SOURCES[maker](tmp_path, images, shout)
    with indexing(tmp_path) as indexer, closing(open_source(reference, indexer)) as source:
        assert set(source.store.map()) == {image.id for image in images}
        assert source.tags == {tag: image.id for image in images for tag in image.tags}


@pytest.mark.parametrize("maker", ODD_SOURCES)
def test_an_image_without_layers_is_an_image(tmp_path: Path, maker: str) -> None:
    """With null where there could be lists, as Go writes empty ones, and keys in another case."""
    absent: dict[str, object] = {"rootfs": {"type": "layers", "diff_ids": None}, "history": None}
    images = [
        TestImage([], ["null:1"], extra=absent | {"config": None}),
        TestImage(
            [],
            ["none:1"],
            extra={"rootfs": {"type": "layers"}, "history": [{"empty_layer": True, "created": None}]},
        ),
        TestImage([], ["upper:1"], extra={"rootfs": None, "RootFS": {"Diff_IDs": []}, "History": []}),
    ]

    def nothing(items: list[Any]) -> list[Any]:
        return [item | ({"Layers": None} if "Layers" in item else {}) for item in items] or [None]

    reference = ODD_SOURCES[maker](tmp_path, images, nothing)
    with indexing(tmp_path) as indexer, closing(open_source(reference, indexer)) as source:
        assert source.tags == {image.tags[0]: image.id for image in images}
        for image in images:
            with source.store.get_tar_seek_stream(image.id) as stream:
                assert stream.read() == b""
