"""Several sources seen as one."""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from imgfs.digest import DiffID
from imgfs.errors import AmbiguousID, ImageNotFound
from imgfs.layers import Indexer, chain_ids
from imgfs.own.writer import Writer
from imgfs.sources import open_source
from imgfs.sources.own.layout import Layout
from imgfs.sources.union import Union
from tests.images import TestImage, digest, docker_archive, layer_tar, oci_layout
from tests.indexing import indexing
from tests.splitting import docker_root


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with indexing(tmp_path) as made:
        yield made


def test_an_image_in_two_sources_is_one_with_what_both_say(
    tmp_path: Path, indexer: Indexer, images: list[TestImage]
) -> None:
    """The layout records no parents, the archive does; both have names."""
    layout = open_source(str(oci_layout(tmp_path / "layout", images)), indexer)
    archive = open_source(str(docker_archive(tmp_path / "x.tar", images[:2])), indexer)
    snapshot = Union([layout, archive]).snapshot
    assert set(snapshot.sources) == {image.id for image in images}
    assert list(snapshot.sources[images[1].id]) == [layout, archive]
    assert snapshot.parents == {images[1].id: images[0].id}
    assert snapshot.children == {images[0].id: [images[1].id]}
    assert set(snapshot.heads) == {images[1].id, images[2].id}


def test_an_image_is_read_from_the_first_source_that_has_all_its_layers(
    tmp_path: Path, indexer: Indexer, images: list[TestImage]
) -> None:
    layout = oci_layout(tmp_path / "layout", images[:1])
    one = open_source(str(layout), indexer)
    two = open_source(str(docker_archive(tmp_path / "x.tar", images[:1])), indexer)
    snapshot = Union([one, two]).snapshot
    assert snapshot.source_of(images[0].id) is one
    blobs = sorted((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blobs[-1].unlink()
    assert snapshot.source_of(images[0].id) is two
    assert Union([one]).snapshot.source_of(images[0].id) is one


@pytest.mark.parametrize("is_there", [False, True])
def test_a_layer_that_cannot_be_read_is_read_from_another_source(
    tmp_path: Path,
    indexer: Indexer,
    images: list[TestImage],
    caplog: pytest.LogCaptureFixture,
    is_there: bool,
) -> None:
    """Each source has one layer that the other has not, and no image is whole in one of them."""
    layout = oci_layout(tmp_path / "layout", images)
    root = docker_root(tmp_path / "docker", images[:2])
    layer = _stored_in_layout(layout, images[0].layers[0])
    layer.unlink()
    if is_there:
        layer.write_bytes(b"nonsense")
    damaged = next(root.glob(f"overlay2/cache{_chain(images[0].layers)[7:20]}/diff/etc/passwd"))
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    union = Union([open_source(str(layout), indexer), open_source(str(root), indexer)])
    for source in union.sources:
        with source.store.get_tar_seek_stream(images[1].id) as stream:
            assert stream.read() == images[1].verbatim
    assert len([record for record in caplog.records if "another copy" in record.getMessage()]) >= 2
    with union.sources[0].store.get_tar_seek_stream(images[2].id) as stream:
        # an image of which the other source has no layer but those
        assert stream.read() == images[2].verbatim


def _stored_in_layout(layout: Path, tar: bytes) -> Path:
    return layout / "blobs/sha256" / digest(gzip.compress(tar, 6, mtime=0))[7:]


def _chain(layers: Sequence[bytes]) -> str:
    return list(chain_ids(DiffID.of(layer) for layer in layers))[-1]


def test_children_in_another_source_are_children(
    tmp_path: Path, indexer: Indexer, images: list[TestImage]
) -> None:
    one = open_source(str(docker_archive(tmp_path / "one.tar", images[:1])), indexer)
    two = open_source(str(docker_archive(tmp_path / "two.tar", images[1:2])), indexer)
    assert Union([one, two]).snapshot.children == {images[0].id: [images[1].id]}


def test_a_name_means_the_image_of_the_first_source_that_has_it(tmp_path: Path, indexer: Indexer) -> None:
    first, second = (TestImage([layer_tar({name: b""})], ["same:1"]) for name in "ab")
    sources = [
        open_source(str(docker_archive(tmp_path / f"{number}.tar", [image])), indexer)
        for number, image in enumerate((first, second))
    ]
    assert Union(sources).snapshot.tags == {"same:1": first.id}
    assert Union(sources[::-1]).snapshot.tags == {"same:1": second.id}


def test_terms_are_names_ids_and_unique_prefixes(tmp_path: Path, indexer: Indexer) -> None:
    images = [TestImage([layer_tar({f"{n}": b""})], [f"n{n}:latest"]) for n in range(40)]
    snapshot = Union([open_source(str(docker_archive(tmp_path / "x.tar", images)), indexer)]).snapshot
    image = images[7]
    for term in ("n7", "n7:latest", image.id, image.id[7:], image.id[:30], image.id[7:30]):
        assert snapshot.resolve(term) == image.id
    for term in ("", "n7:other", "sha256:", "zz", image.id + "0"):
        with pytest.raises(ImageNotFound, match="No such image"):
            snapshot.resolve(term)
    digits = [image.id[7] for image in images]
    shared = next(digit for digit in digits if digits.count(digit) > 1)
    with pytest.raises(AmbiguousID):
        snapshot.resolve(shared)


def test_a_name_may_leave_out_what_engines_put_before_it(tmp_path: Path, indexer: Indexer) -> None:
    names = ("docker.io/library/debian:latest", "docker.io/me/tool:1", "localhost/built:2", "quay.io/a/b:1")
    images = [TestImage([layer_tar({name: b""})], [name]) for name in names]
    snapshot = Union([open_source(str(docker_archive(tmp_path / "x.tar", images)), indexer)]).snapshot
    terms = ("debian", "me/tool:1", "built:2", "quay.io/a/b:1")
    assert [snapshot.resolve(term) for term in terms] == [image.id for image in images]
    for term in ("library/other", "a/b:1", "tool:1"):
        with pytest.raises(ImageNotFound):
            snapshot.resolve(term)


def test_a_source_that_fails_keeps_what_it_had(
    tmp_path: Path, indexer: Indexer, images: list[TestImage], caplog: pytest.LogCaptureFixture
) -> None:
    """A layout that is taken away is one line in the log, and the other source is still followed."""
    layout = oci_layout(tmp_path / "layout", images[:1])
    own = Layout(str(tmp_path / "store"))
    own.create()
    union = Union([open_source(str(layout), indexer), open_source(f"imgfs:{own.root}", indexer)])
    layout.rename(tmp_path / "elsewhere")
    with Writer(own, indexer) as writer:
        staged = [writer.stage([layer], "layer", lambda count: None) for layer in images[1].layers]
        writer.commit(images[1].config, staged, None, [])
    assert union.refresh()
    union.refresh()
    assert set(union.snapshot.sources) == {images[0].id, images[1].id}
    (record,) = caplog.records
    assert str(layout) in record.getMessage()
