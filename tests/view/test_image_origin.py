"""The source that an image is read from."""

from pathlib import Path

import pytest

from imgfs.errors import ImageNotFound
from imgfs.sources import Source, open_source
from imgfs.sources.union import Union
from imgfs.store import LayerStack
from imgfs.view import Directory, RootDirectory, ViewOptions
from imgfs.view.image_origin import ImageOrigin
from tests.images import TestImage, docker_archive
from tests.indexing import indexing
from tests.view.conftest import content, find


def all_images(root: RootDirectory) -> Directory:
    node = find(root, "images")
    assert isinstance(node, Directory)
    return node


def test_an_image_that_its_source_has_lost_is_read_from_another(
    tmp_path: Path, images: list[TestImage]
) -> None:
    one, other = (docker_archive(tmp_path / name, images[:1]) for name in ("one.tar", "other.tar"))
    with indexing(tmp_path) as indexer:
        first, second = open_source(str(one), indexer), open_source(str(other), indexer)
        union = Union([first, second])
        root = RootDirectory(union, ViewOptions())
        path = f"images/{images[0].id.hex}/rootfs"
        table = find(root, path).table
        assert table is not None
        table.load()
        assert find(root, f"{path}/etc/passwd").table is table
        first.store.close()  # as if it had lost all of its images
        assert [name for name, _ in all_images(root).entries()] == [images[0].id.hex.encode()]
        union.snapshot = Union([second]).snapshot
        root.close()  # unloads it; what the kernel knows of it stays
        table.load()
        assert content(root, f"{path}/etc/passwd").startswith(b"root")
        root.close()
        union.close()


def test_a_source_is_chosen_when_layers_are_read_and_again_when_that_fails(
    tmp_path: Path, images: list[TestImage]
) -> None:
    one, other = (docker_archive(tmp_path / name, images[:1]) for name in ("one.tar", "other.tar"))
    chosen: list[Source | None] = []
    with indexing(tmp_path) as indexer:
        union = Union([open_source(str(one), indexer), open_source(str(other), indexer)])
        origin = ImageOrigin(images[0].id, union)
        assert origin.known_source is None
        assert origin.known_layers is None
        assert origin.origins == union.sources

        def fail(layers: LayerStack) -> None:
            chosen.append(origin.known_source)
            raise OSError("gone")

        assert origin.read(lambda layers: len(layers.diff_ids)) == 2
        assert origin.origins == (union.sources[0],)
        with pytest.raises(OSError, match="gone"):
            origin.read(fail)
        assert chosen == [union.sources[0]]
        assert origin.known_source is None
        assert origin.source is union.sources[0]
        union.close()


def test_an_image_that_no_source_has_is_not_found(tmp_path: Path, images: list[TestImage]) -> None:
    with indexing(tmp_path) as indexer:
        union = Union([open_source(str(docker_archive(tmp_path / "one.tar", images[:1])), indexer)])
        origin = ImageOrigin(images[2].id, union)
        assert (origin.known_layers, list(origin.sources), origin.origins) == (None, [], ())
        with pytest.raises(ImageNotFound):
            origin.read(lambda layers: None)
        union.close()
