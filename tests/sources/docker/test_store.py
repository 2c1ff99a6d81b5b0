"""Docker's data roots as they may be found: of several drivers, damaged, changing."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from imgfs.blob import Root
from imgfs.digest import ImageID
from imgfs.errors import ImgfsError, SourceNotFound
from imgfs.sources import Source, open_source
from tests.conftest import eventually
from tests.images import TestImage, digest, layer_tar
from tests.indexing import indexing
from tests.splitting import docker_root


@contextmanager
def _opened(path: Path) -> Iterator[Source]:
    with indexing(path) as indexer, closing(open_source(f"docker:{path / 'root'}", indexer)) as source:
        yield source


def _tar(source: Source, image: TestImage) -> bytes:
    with source.store.get_tar_seek_stream(ImageID(image.id)) as stream:
        return stream.read()


def _layer(root: Path, image: TestImage) -> Path:
    """The records of an image's bottom layer."""
    return root / "image/overlay2/layerdb/sha256" / digest(image.layers[0])[7:]


def test_images_of_all_drivers_are_seen(tmp_path: Path, images: list[TestImage]) -> None:
    base, child, grandchild = images
    for driver, some in (("overlay2", [base]), ("vfs", [base, child]), ("fuse-overlayfs", [grandchild])):
        docker_root(tmp_path / "root", some, driver)
    with _opened(tmp_path) as source:
        assert set(source.store.map()) == {image.id for image in images}
        assert source.tags == {tag: image.id for image in images for tag in image.tags}
        assert source.store.children(ImageID(base.id)) == [child.id]
        assert source.store.children(ImageID(child.id)) == [grandchild.id]
        for image in images:
            assert _tar(source, image) == image.verbatim


def test_a_driver_that_cannot_be_read_is_told_and_the_rest_is_seen(
    tmp_path: Path, images: list[TestImage]
) -> None:
    docker_root(tmp_path / "root", images[:1])
    docker_root(tmp_path / "root", images[1:], "zfs")
    with _opened(tmp_path) as source:
        assert list(source.store.map()) == [images[0].id]
        assert ["zfs" in problem for problem in source.problems] == [True]


def test_digests_among_the_names_are_no_tags(tmp_path: Path, images: list[TestImage]) -> None:
    root = docker_root(tmp_path / "root", images)
    names = {"a": {"a:1": images[0].id, f"a@{images[1].id}": images[0].id, "a:gone": digest(b"gone")}}
    (root / "image/overlay2/repositories.json").write_text(json.dumps({"Repositories": names}))
    with _opened(tmp_path) as source:
        assert source.tags == {"a:1": images[0].id}


@pytest.mark.parametrize("text", ["", "[]", '{"Repositories": {"a": {"a:1": "nonsense"}}}', "[" * 100_000])
def test_names_that_do_not_parse_are_told_and_images_are_seen(
    tmp_path: Path, images: list[TestImage], text: str
) -> None:
    root = docker_root(tmp_path / "root", images)
    (root / "image/overlay2/repositories.json").write_text(text)
    with _opened(tmp_path) as source:
        assert len(source.store.map()) == 3
        assert len(source.problems) == 1
        assert source.tags == {}


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ("diff", "nonsense"),
        ("diff", digest(b"another")),
        ("diff", None),
        ("parent", digest(b"another")),
        ("parent", "nonsense"),
        ("cache-id", "../../../etc"),
        ("cache-id", ""),
        ("cache-id", None),
        ("cache-id", "gone"),
        ("tar-split.json.gz", None),
        ("tar-split.json.gz", "nonsense"),
    ],
)
def test_a_layer_whose_records_are_wrong_cannot_be_read_and_says_so(
    tmp_path: Path, images: list[TestImage], record: str, text: str | None
) -> None:
    root = docker_root(tmp_path / "root", images)
    path = _layer(root, images[0]) / record
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_text(text)
    with _opened(tmp_path) as source:
        assert len(source.store.map()) == 3
        with pytest.raises((ImgfsError, OSError)) as caught:
            _tar(source, images[0])
        assert digest(images[0].layers[0])[7:20] in str(caught.value) or "gone" in str(caught.value)


def test_opening_reads_no_record_of_a_layer_and_misses_those_that_are_gone(
    tmp_path: Path, images: list[TestImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = docker_root(tmp_path / "root", images)
    read, names = Root.read, list[str]()

    def note(self: Root, name: str, limit: int) -> bytes:
        names.append(name)
        return read(self, name, limit)

    monkeypatch.setattr(Root, "read", note)
    with _opened(tmp_path) as source:
        assert not source.problems
    assert not [name for name in names if "layerdb" in name]
    shutil.rmtree(_layer(root, images[0]))
    with _opened(tmp_path) as source:
        assert any("its layers are missing" in problem for problem in source.problems)


def test_images_come_and_go_and_names_move(tmp_path: Path, images: list[TestImage]) -> None:
    base, child, grandchild = images
    root = docker_root(tmp_path / "root", [base])
    with _opened(tmp_path) as source:
        assert eventually(lambda: not source.refresh())
        docker_root(root, [base, child])
        assert source.refresh()
        assert source.store.children(ImageID(base.id)) == [child.id]
        assert set(source.tags) == {*base.tags, *child.tags}
        docker_root(root, [grandchild], "vfs")
        assert source.refresh()
        assert _tar(source, grandchild) == grandchild.verbatim
        (root / "image/overlay2/imagedb/content/sha256" / child.id[7:]).unlink()
        assert source.refresh()
        assert set(source.store.map()) == {base.id, grandchild.id}
        assert not source.refresh()


def test_an_image_that_goes_with_its_layers_is_let_go(tmp_path: Path, images: list[TestImage]) -> None:
    """Its layers are many, so that nobody has read their tar-splits yet."""
    many = TestImage([layer_tar({f"file-{number:05}": b"x" for number in range(5_000)})])
    root = docker_root(tmp_path / "root", [many, images[0]])
    with _opened(tmp_path) as source:
        assert source.store.layers(ImageID(many.id)).look_for_size() is None
        shutil.rmtree(_layer(root, many))
        (root / "image/overlay2/imagedb/content/sha256" / many.id[7:]).unlink()
        assert source.refresh()
        assert list(source.store.map()) == [images[0].id]
        assert len(source.layers.references()) == len(images[0].layers)


def test_a_layer_that_moved_is_found_again(tmp_path: Path, images: list[TestImage]) -> None:
    """Removed and pulled again between two looks: the same image, its files elsewhere."""
    root = docker_root(tmp_path / "root", images[:1])
    with _opened(tmp_path) as source:
        assert _tar(source, images[0]) == images[0].verbatim
        record = _layer(root, images[0]) / "cache-id"
        (root / "overlay2" / record.read_text()).rename(root / "overlay2" / "elsewhere")
        record.write_text("elsewhere")
        assert _tar(source, images[0]) == images[0].verbatim


def test_an_open_tar_outlives_the_records_of_its_layers(tmp_path: Path, images: list[TestImage]) -> None:
    root = docker_root(tmp_path / "root", images[:1])
    with _opened(tmp_path) as source, source.store.get_tar_seek_stream(ImageID(images[0].id)) as stream:
        shutil.rmtree(root / "image")
        (root / "overlay2").rename(root / "removing")
        assert stream.read() == images[0].verbatim


@pytest.mark.parametrize("made", ["nothing", "empty"])
def test_a_root_without_images_is_refused_by_name(tmp_path: Path, made: str) -> None:
    root = tmp_path / "root"
    if made == "empty":
        root.mkdir()
    with (
        indexing(tmp_path) as indexer,
        pytest.raises((SourceNotFound, FileNotFoundError), match=str(root)),
    ):
        open_source(f"docker:{root}", indexer)


def test_a_root_with_a_containerd_of_its_own_is_read_through_that(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "containerd/daemon/io.containerd.content.v1.content/blobs/sha256").mkdir(parents=True)
    with _opened(tmp_path) as source:
        assert source.reference == f"docker:{root}"
        assert source.store.map() == {}


def test_a_containerd_that_only_runs_containers_is_none_that_has_images(
    tmp_path: Path, images: list[TestImage], caplog: pytest.LogCaptureFixture
) -> None:
    content = docker_root(tmp_path / "root", images) / "containerd/daemon/io.containerd.content.v1.content"
    content.mkdir(parents=True)
    with _opened(tmp_path) as source:
        assert len(source.store.map()) == 3
        assert source.folders == (str(tmp_path / "root"),)
        assert not source.problems
        assert not caplog.messages
