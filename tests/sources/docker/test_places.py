"""Where Docker keeps images: in a containerd beside it, on another disk, with remapped users, in two stores."""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from imgfs.errors import SourceNotFound
from imgfs.sources import Source, open_source
from imgfs.sources.reference import qualified_name
from tests.images import TestImage, layer_tar
from tests.indexing import indexing
from tests.sources.containerd.bolt_files import database_of
from tests.sources.containerd.roots import Root
from tests.splitting import docker_root

IMAGE = TestImage([layer_tar({"in-containerd": b""})], ["new:1"])


@contextmanager
def _opened(place: Path, folder: Path) -> Iterator[Source]:
    with indexing(folder) as indexer, closing(open_source(f"docker:{place}", indexer)) as source:
        yield source


def _containerd(path: Path, *images: TestImage, namespace: str = "moby") -> Path:
    """A root of containerd with images under the names that they have in Docker."""
    root = Root(path, *(images or (IMAGE,)))
    named = zip(images or (IMAGE,), root.manifests, strict=True)
    root.name({namespace: {qualified_name(image.tags[0]): digest for image, digest in named}})
    return path


def _data_root(path: Path) -> Path:
    """A data root as Docker 29 has it, with no images in it."""
    (path / "containers").mkdir(parents=True)
    (path / "engine-id").write_text("0")
    return path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("inner", ["containerd/daemon", "containerd", "../containerd"])
def test_images_are_found_in_a_containerd_in_the_data_root_or_beside_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, inner: str
) -> None:
    root = _data_root(tmp_path / "disk/var/lib/docker")
    _containerd(root / inner)
    with caplog.at_level(logging.INFO, "imgfs"), _opened(root, tmp_path) as source:
        assert source.tags == {"new:1": IMAGE.id}
        assert source.reference == f"docker:{root}"
        assert source.folders == (str((root / inner).resolve()),)
    assert f"containerd at {(root / inner).resolve()}, namespace moby" in caplog.text


def test_a_containerd_beside_it_without_images_of_docker_is_not_taken(
    tmp_path: Path, images: list[TestImage]
) -> None:
    root = _data_root(tmp_path / "docker")
    docker_root(root, images)
    _containerd(tmp_path / "containerd", namespace="k8s.io")
    with _opened(root, tmp_path) as source:
        assert set(source.store.map()) == {image.id for image in images}
        assert source.folders == (str(root),)


def test_a_folder_that_is_no_data_root_is_not_docker_though_a_containerd_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "lib/other").mkdir(parents=True)
    _containerd(tmp_path / "lib/containerd")
    for path in (tmp_path / "lib/other", tmp_path / "lib"):
        with indexing(tmp_path) as indexer, pytest.raises(SourceNotFound, match="no image store of Docker"):
            open_source(f"docker:{path}", indexer)


def test_a_docker_without_images_yet_has_none(tmp_path: Path) -> None:
    root = _data_root(tmp_path / "docker")
    (tmp_path / "containerd/io.containerd.metadata.v1.bolt").mkdir(parents=True)
    (tmp_path / "containerd/io.containerd.metadata.v1.bolt/meta.db").write_bytes(database_of({}))
    with _opened(root, tmp_path) as source:
        assert source.store.map() == {}
        assert not source.problems
        shutil.rmtree(tmp_path / "containerd/io.containerd.metadata.v1.bolt")
        _containerd(tmp_path / "containerd")
        assert source.refresh()
        assert source.tags == {"new:1": IMAGE.id}


@pytest.mark.parametrize("given", ["", "srv/images"])
def test_settings_of_a_disk_say_where_its_images_are(tmp_path: Path, given: str) -> None:
    """The disk is given, or the data root on it; paths in the settings start at its top and do not lead out."""
    disk = tmp_path / "disk"
    _data_root(disk / "srv/images")
    _write(disk / "etc/docker/daemon.json", json.dumps({"data-root": "/../srv/images"}))
    _write(disk / "etc/containerd/config.toml", 'version = 2\nroot = "/data/c"\n')
    _containerd(disk / "data/c")
    with _opened(disk / given, tmp_path) as source:
        assert source.tags == {"new:1": IMAGE.id}
        assert source.folders == (str(disk / "data/c"),)


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"data-root": 5}', "{" * 70_000, "[" * 60_000])
def test_settings_that_cannot_be_read_are_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    disk = tmp_path / "disk"
    _data_root(disk / "var/lib/docker")
    _write(disk / "etc/docker/daemon.json", text)
    _write(disk / "etc/containerd/config.toml", text)
    _containerd(disk / "var/lib/containerd")
    with _opened(disk, tmp_path) as source:
        assert source.tags == {"new:1": IMAGE.id}
    assert ("daemon.json: ignored" in caplog.text) == (text not in ("[]", '{"data-root": 5}'))


def test_both_kinds_of_store_are_seen_and_names_are_those_of_containerd(
    tmp_path: Path, images: list[TestImage]
) -> None:
    taken = TestImage([layer_tar({"taken": b""})], [images[0].tags[0]])
    root = docker_root(tmp_path / "root", images)
    _containerd(root / "containerd/daemon", taken, IMAGE)
    with _opened(root, tmp_path) as source:
        assert set(source.store.map()) == {image.id for image in (*images, taken, IMAGE)}
        classic = {tag: image.id for image in images for tag in image.tags}
        assert source.tags == classic | {taken.tags[0]: taken.id, "new:1": IMAGE.id}
        assert source.folders == (str(root / "containerd/daemon"), str(root))
        for image in (images[1], IMAGE):
            with source.store.get_tar_seek_stream(image.id) as stream:
                assert stream.read() == image.verbatim
        docker_root(root, [*images, TestImage([layer_tar({"later": b""})], ["later:1"])])
        assert source.refresh()
        assert "later:1" in source.tags


@pytest.mark.parametrize("inner", ["165536.165536/containerd/daemon", "../containerd"])
@pytest.mark.parametrize("given", ["", "165536.165536"])
def test_remapped_users_have_a_data_root_and_a_namespace_of_their_own(
    tmp_path: Path, images: list[TestImage], given: str, inner: str
) -> None:
    """Held against Docker 26.1, with a containerd of its own and with one of the machine's."""
    root = tmp_path / "lib/docker"
    remapped = _data_root(root / "165536.165536")
    docker_root(remapped, images[:1])
    _containerd(root / inner, namespace="moby-165536.165536")
    with _opened(root / given, tmp_path) as source:
        assert source.tags == {"new:1": IMAGE.id, **dict.fromkeys(images[0].tags, images[0].id)}


def test_images_from_before_users_were_remapped_are_seen_beside_the_others(
    tmp_path: Path, images: list[TestImage]
) -> None:
    root = docker_root(tmp_path / "root", images[:1])
    docker_root(root / "165536.165536", images[1:])
    docker_root(root / "not.remapped", [IMAGE])
    with _opened(root, tmp_path) as source:
        assert set(source.store.map()) == {image.id for image in images}


def test_of_two_containerds_the_one_with_images_counts(tmp_path: Path) -> None:
    """As after a containerd was installed on the machine, beside one that Docker had run by itself."""
    root = _data_root(tmp_path / "docker")
    Root(root / "containerd/daemon").name({"moby": {}})
    _containerd(tmp_path / "containerd")
    with _opened(root, tmp_path) as source:
        assert source.tags == {"new:1": IMAGE.id}


def test_a_data_root_elsewhere_goes_with_the_usual_containerd_of_its_machine_alone(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    root = _data_root(disk / "srv/images")
    _containerd(disk / "var/lib/containerd")
    with indexing(tmp_path) as indexer, pytest.raises(SourceNotFound):
        open_source(f"docker:{root}", indexer)
    _write(disk / "etc/docker/daemon.json", json.dumps({"data-root": "/srv/images"}))
    with _opened(root, tmp_path) as source:
        assert source.tags == {"new:1": IMAGE.id}
