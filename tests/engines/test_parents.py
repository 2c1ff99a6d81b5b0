"""Parents that podman derives, of images that are hard to tell apart, beside what podman itself says."""

import random
from contextlib import closing
from pathlib import Path

from imgfs.sources import open_source
from imgfs.sources.union import Union
from tests.engines.engine import podman
from tests.histories import unclear_family
from tests.images import docker_archive
from tests.indexing import indexing


def test_parents_are_those_that_podman_derives(suite: str, short_folder: Path, tmp_path: Path) -> None:
    images = unclear_family(random.Random(1), 30)
    with podman(short_folder, "overlay", suite) as engine:
        engine.load(docker_archive(tmp_path / "images.tar", images))
        theirs = engine.parents()
        with indexing(tmp_path) as indexer, closing(Union([open_source(engine.source, indexer)])) as union:
            snapshot = union.snapshot
    assert snapshot.images.keys() == {image.id for image in images}
    assert {child.hex: parent.hex for child, parent in snapshot.parents.items()} == theirs
    assert len(theirs) > 5
