"""Stores of containers/storage as they may be found: with additional ones, damaged, changing."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from imgfs.digest import ImageID
from imgfs.errors import ImgfsError
from imgfs.rootfs import RootFS, TreeCache
from imgfs.sources import Source, open_source
from tests.images import TestImage, digest
from tests.indexing import indexing
from tests.splitting import graph_root, use_composefs
from tests.tools import require_root


@contextmanager
def _opened(reference: str, folder: Path) -> Iterator[Source]:
    with (
        indexing(folder) as indexer,
        closing(open_source(f"containers-storage:{reference}", indexer)) as source,
    ):
        yield source


def _tar(source: Source, image: TestImage) -> bytes:
    with source.store.get_tar_seek_stream(ImageID(image.id)) as stream:
        return stream.read()


def _edit(path: Path, change: dict[str, object]) -> None:
    """Change the first record of a list."""
    listed: list[dict[str, Any]] = json.loads(path.read_text())
    listed[0] |= change
    path.write_text(json.dumps(listed))


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file that goes for this test."""
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    return tmp_path / "storage.conf"


def test_the_default_is_what_the_configuration_says(
    conf: Path, tmp_path: Path, images: list[TestImage]
) -> None:
    graph_root(tmp_path / "graph", images[:1])
    graph_root(tmp_path / "more", images[:2], "vfs")
    graph_root(tmp_path / "split", images[2:])
    conf.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{tmp_path}/graph"\nimagestore = "{tmp_path}/split"\n'
        f'[storage.options]\nadditionalimagestores = ["{tmp_path}/absent", "{tmp_path}/more"]\n'
    )
    with _opened("", tmp_path) as source:
        assert source.reference == f"containers-storage:{tmp_path}/graph"
        assert set(source.store.map()) == {image.id for image in images}
        for image in images:
            assert _tar(source, image) == image.verbatim


def test_an_additional_store_that_is_broken_is_told(
    conf: Path, tmp_path: Path, images: list[TestImage]
) -> None:
    graph_root(tmp_path / "graph", images)
    graph_root(tmp_path / "more", images)
    (tmp_path / "more/overlay-images/images.json").write_text("nonsense")
    conf.write_text(
        f'[storage]\ngraphroot = "{tmp_path}/graph"\n[storage.options]\nadditionalimagestores = ["{tmp_path}/more"]\n'
    )
    with _opened("", tmp_path) as source:
        assert len(source.store.map()) == 3
        assert len(source.problems) == 1


@pytest.mark.parametrize("moved", [(), ("overlay-layers/layers.json",)])
@pytest.mark.parametrize("composefs", [False, True])
def test_a_store_that_is_split_is_read_from_both_places(
    conf: Path, tmp_path: Path, images: list[TestImage], moved: tuple[str, ...], composefs: bool
) -> None:
    """podman 5.4 keeps the list of layers and the tar-splits in the graph root, podman 5.8 the tar-splits alone."""
    graph, store = graph_root(tmp_path / "graph", images), tmp_path / "store"
    if composefs:
        use_composefs(graph)
    for name in ("overlay-images", "overlay-layers"):
        (store / name).mkdir(parents=True)
    documents = [path for path in (graph / "overlay-layers").iterdir() if path.is_dir()]
    there = ("overlay", "overlay-images/images.json", *moved)
    for path in [*documents, *(graph / part for part in there)]:
        path.rename(store / path.relative_to(graph))
    for path in list((graph / "overlay-images").iterdir()):
        path.rename(store / "overlay-images" / path.name)
    conf.write_text(f'[storage]\ngraphroot = "{graph}"\nimagestore = "{store}"\n')
    for reference in ("", f"[overlay@{graph}+/run:overlay.x=1,overlay.imagestore={store}]"):
        with _opened(reference, tmp_path) as source:
            assert not source.problems
            assert set(source.store.map()) == {image.id for image in images}
            for image in images:
                assert _tar(source, image) == image.verbatim
        conf.write_text("")  # what the second one does not need


def test_files_are_found_by_their_digests_where_a_store_uses_composefs(
    tmp_path: Path, images: list[TestImage]
) -> None:
    root = graph_root(tmp_path / "graph", images)
    use_composefs(root)
    with _opened(str(root), tmp_path) as source:
        for image in images:
            assert _tar(source, image) == image.verbatim


@pytest.mark.parametrize("broken", ["nonsense", '{"entries": []}', None])
def test_a_layer_of_composefs_without_its_manifest_is_an_error(
    tmp_path: Path, images: list[TestImage], broken: str | None
) -> None:
    root = graph_root(tmp_path / "graph", images)
    use_composefs(root)
    for manifest in (root / "overlay-layers").glob("*/=*"):
        if broken is None:
            manifest.unlink()
        else:
            manifest.write_text(broken)
    with _opened(str(root), tmp_path) as source, pytest.raises((ImgfsError, OSError)):
        _tar(source, images[0])


def test_one_driver_of_several_is_chosen_as_skopeo_writes_it(tmp_path: Path, images: list[TestImage]) -> None:
    root = graph_root(tmp_path / "graph", images[:1])
    graph_root(root, images[1:], "vfs")
    for reference, expected in (
        (f"{root}", images),
        (f"[overlay@{root}+{tmp_path}/run]", images[:1]),
        (f"[vfs@{root}]", images[1:]),
        (f"[{root}]", images),
    ):
        with _opened(reference, tmp_path) as source:
            assert set(source.store.map()) == {image.id for image in expected}
    with pytest.raises(ImgfsError, match="btrfs"), _opened(f"[btrfs@{root}]", tmp_path):
        pass


@pytest.mark.parametrize(
    ("listed", "change"),
    [
        ("images", {"id": "../../etc"}),
        ("images", {"big-data-names": ["sha256:nonsense", "../../etc/passwd"]}),
        ("images", {"big-data-names": None}),
        ("images", {"layer": "gone"}),
        ("images", {"layer": ""}),
        ("layers", {"id": "../../../etc"}),
        ("layers", {"diff-digest": digest(b"another")}),
        ("layers", {"diff-size": 5}),
        ("layers", {"parent": digest(b"")[7:]}),
    ],
)
def test_what_is_broken_is_left_out_and_the_rest_is_read(
    tmp_path: Path, images: list[TestImage], listed: str, change: dict[str, object]
) -> None:
    other = TestImage(images[0].layers[1:], ["other:1"])
    root = graph_root(tmp_path / "graph", [images[0], other])
    _edit(root / f"overlay-{listed}" / f"{listed}.json", change)
    with _opened(str(root), tmp_path) as source:
        assert _tar(source, other) == other.verbatim
        if ImageID(images[0].id) in source.store.map():
            with pytest.raises(ImgfsError):
                _tar(source, images[0])


@pytest.mark.parametrize("size", [-5, 1 << 63, 10**30])
def test_a_recorded_size_that_no_tar_can_have_is_none(
    tmp_path: Path, images: list[TestImage], size: int
) -> None:
    root = graph_root(tmp_path / "graph", images[:1])
    _edit(root / "overlay-layers/layers.json", {"diff-size": size})
    with _opened(str(root), tmp_path) as source:
        assert source.store.layers(ImageID(images[0].id)).look_for_size() == len(images[0].verbatim)
        assert _tar(source, images[0]) == images[0].verbatim


def test_layers_that_stand_on_each_other_in_a_ring_end(tmp_path: Path, images: list[TestImage]) -> None:
    root = graph_root(tmp_path / "graph", images)
    _edit(
        root / "overlay-layers/layers.json",
        {"parent": json.loads((root / "overlay-layers/layers.json").read_text())[-1]["id"]},
    )
    with _opened(str(root), tmp_path) as source:
        assert len(source.store.map()) == 3
        assert len(source.problems) == 6


def test_a_config_that_is_not_what_its_name_says_is_left_out(tmp_path: Path, images: list[TestImage]) -> None:
    root = graph_root(tmp_path / "graph", images)
    (document,) = (root / "overlay-images" / images[0].id[7:]).iterdir()
    document.write_bytes(document.read_bytes() + b" ")
    with _opened(str(root), tmp_path) as source:
        assert set(source.store.map()) == {image.id for image in images[1:]}
        assert "failed to verify" in source.problems[0]


def test_a_parent_in_the_config_is_the_parent(tmp_path: Path, images: list[TestImage]) -> None:
    child = TestImage(images[1].layers, ["child:1"], extra={"parent": images[0].id})
    odd = TestImage(images[1].layers, ["odd:1"], extra={"parent": "nonsense"})
    root = graph_root(tmp_path / "graph", [images[0], child, odd])
    with _opened(str(root), tmp_path) as source:
        assert source.store.children(ImageID(images[0].id)) == [child.id]
        assert len(source.store.map()) == 3


def test_a_layer_that_moved_is_found_again(tmp_path: Path, images: list[TestImage]) -> None:
    """Removed and loaded again between two looks: the same image, its layer under another ID."""
    root = graph_root(tmp_path / "graph", images[:1])
    with _opened(str(root), tmp_path) as source:
        assert _tar(source, images[0]) == images[0].verbatim
        old = json.loads((root / "overlay-layers/layers.json").read_text())[1]["id"]
        (root / "overlay" / old).rename(root / "overlay/moved")
        (root / f"overlay-layers/{old}.tar-split.gz").rename(root / "overlay-layers/moved.tar-split.gz")
        for listed in ("overlay-layers/layers.json", "overlay-images/images.json"):
            text = (root / listed).read_text().replace(f'"id": "{old}"', '"id": "moved"')
            (root / listed).write_text(text.replace(f'"layer": "{old}"', '"layer": "moved"'))
        source.refresh()
        assert _tar(source, images[0]) == images[0].verbatim


def test_a_manifest_is_shown_and_one_that_is_missing_is_told(tmp_path: Path, images: list[TestImage]) -> None:
    root = graph_root(tmp_path / "graph", images[:2])
    listed = json.loads((root / "overlay-images/images.json").read_text())
    for record in listed:
        record["big-data-names"].append("manifest")
    (root / "overlay-images/images.json").write_text(json.dumps(listed))
    (root / "overlay-images" / images[0].id[7:] / "manifest").write_bytes(b"{}")
    with _opened(str(root), tmp_path) as source:
        assert source.manifest(ImageID(images[0].id)) == b"{}"
        assert source.manifest(ImageID(images[1].id)) is None
        assert len(source.problems) == 1


@pytest.mark.parametrize(
    "recorded", [{"big-data-digests": {"manifest": digest(b"{}")}}, {"digest": digest(b"{}")}]
)
def test_an_image_whose_manifest_is_not_the_recorded_one_is_left_out(
    tmp_path: Path, images: list[TestImage], recorded: dict[str, object]
) -> None:
    root = graph_root(tmp_path / "graph", images[:2])
    image_id = images[0].id
    _edit(root / "overlay-images/images.json", {"big-data-names": [image_id, "manifest"], **recorded})
    manifest = root / "overlay-images" / image_id[7:] / "manifest"
    manifest.write_bytes(b"{}")
    with _opened(str(root), tmp_path) as source:
        assert source.manifest(ImageID(image_id)) == b"{}"
        assert not source.problems
    manifest.write_bytes(b"[]")
    with _opened(str(root), tmp_path) as source:
        assert list(source.store.map()) == [images[1].id]
        assert source.problems == [
            f"skipping image {image_id[7:]}: document manifest: failed to verify, "
            f"its content is not {digest(b'{}')}"
        ]


def test_lists_that_are_null_or_not_there_yet_are_empty(tmp_path: Path, images: list[TestImage]) -> None:
    root = graph_root(tmp_path / "graph", images)
    (root / "overlay-images/images.json").write_text("null\n")
    (root / "overlay-layers/layers.json").unlink()
    with _opened(str(root), tmp_path) as source:
        assert not source.store.map()
        graph_root(root, images[:2])
        assert source.refresh()
        assert len(source.store.map()) == 2
        assert not source.refresh()


@pytest.mark.parametrize("composefs", [False, True])
def test_a_file_that_is_open_is_read_after_its_image_was_removed(
    tmp_path: Path, images: list[TestImage], composefs: bool
) -> None:
    root, image = graph_root(tmp_path / "graph", images), images[0]
    if composefs:
        use_composefs(root)
    with (
        _opened(str(root), tmp_path) as source,
        RootFS.of(source.store.layers(ImageID(image.id)), TreeCache(None), "image") as rootfs,
        rootfs.content(rootfs.lookup("bin/tool")) as tool,
        rootfs.flat_tar() as flat,
    ):
        beginning = tool.pread(5, 0)
        flat.pread(512, 0)
        shutil.rmtree(root)
        whole = tool.pread(tool.size, 0)
        assert whole[:5] == beginning
        assert len(whole) == tool.size
        assert tool.pread(100, tool.size - 100) == whole[-100:]
        with pytest.raises((ImgfsError, OSError)):  # too many files to hold them all
            flat.pread(flat.size, 0)


def _contain(root: Path, **changed: str) -> str:
    """List a container of the first image in a store; returns its ID."""
    layers = json.loads((root / "overlay-layers/layers.json").read_text())
    image = json.loads((root / "overlay-images/images.json").read_text())[0]
    (root / "overlay/own/diff").mkdir(parents=True)
    (root / "overlay/own/diff/mine").write_text("mine")
    layers.append({"id": "own", "parent": image["layer"]})
    (root / "overlay-layers/layers.json").write_text(json.dumps(layers))
    metadata = json.dumps({"image-name": "example/base:1"})
    record = {"id": "c" * 64, "names": ["one"], "image": image["id"], "layer": "own", "metadata": metadata}
    (root / "overlay-containers").mkdir()
    (root / "overlay-containers/containers.json").write_text(json.dumps([record | changed]))
    return "c" * 64


def test_containers_come_and_their_files_are_those_of_the_image_with_their_changes(
    tmp_path: Path, images: list[TestImage]
) -> None:
    require_root()
    root = graph_root(tmp_path / "store", images)
    with _opened(str(root), tmp_path) as source:
        assert not source.containers
        container_id = _contain(root)
        assert source.refresh()
        found = source.containers[container_id]
        assert (found.container.name, found.container.image_name) == ("one", "example/base:1")
        assert found.container.image in source.store
        assert found.container.state.status == "unknown"
        with found.open_record() as record:
            assert json.loads(record.pread(record.size, 0))["id"] == container_id
        image = found.container.image
        assert image is not None
        with (
            RootFS.of(source.container_layers(found), TreeCache(None), "container") as rootfs,
            RootFS.of(source.store.layers(image), TreeCache(None), "image") as before,
        ):
            assert set(rootfs.listdir()) == {*before.listdir(), "mine"}
            assert rootfs.open("mine").read() == b"mine"


@pytest.mark.parametrize("changed", [{"layer": "gone"}, {"id": "../x"}, {"layer": "", "image": "?"}])
def test_a_container_that_is_damaged_is_named_and_images_are_seen(
    tmp_path: Path, images: list[TestImage], changed: dict[str, str]
) -> None:
    root = graph_root(tmp_path / "store", images)
    _contain(root, **changed)
    with _opened(str(root), tmp_path) as source:
        assert not source.containers
        assert len(source.problems) == 1
        assert len(source.store.map()) == len(images)
