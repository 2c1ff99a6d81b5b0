"""No bit that flips in what describes images is without a consequence that is reported.

Of every flip, either opening or verifying the source says what is bad, or nothing that is seen has changed. Nothing
vouches for the spelling of a name, nor for which of the images that are there a name leads to: those may change. Nor
does anything vouch for a config of an archive in the old form, where a file's name need not be its digest.
"""

import gzip
import random
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.cli.verify import Report, verify_source
from imgfs.errors import ImgfsError
from imgfs.layers import Indexer
from imgfs.layers.progress import no_progress
from imgfs.sources import Source, open_source
from imgfs.sources.union import Union
from tests.damage import flip
from tests.images import TestImage, layer_tar, new_docker_archive, oci_layout
from tests.indexing import indexing
from tests.layers.stored_layers import one_frame
from tests.sources.test_contract import MAKERS
from tests.splitting import docker_root, graph_root

BASE = TestImage([layer_tar({"a": b"a" * 100})], ["example/a:1"])
CHILD = TestImage([*BASE.layers, layer_tar({"b": b"b" * 100})], ["example/b:1", "example/b:2"], BASE)
IMAGES = [BASE, CHILD, TestImage([layer_tar({"c": b"c"})], ["other:latest"])]
FLIPS = 150

Maker = Callable[[Path], Path]
PLACES: dict[str, Maker] = {
    "docker": lambda folder: docker_root(folder / "place", IMAGES),
    "containers-storage": lambda folder: graph_root(folder / "place", IMAGES),
    "oci": lambda folder: oci_layout(folder / "place", IMAGES),
    "imgfs": lambda folder: Path(MAKERS["imgfs"](folder, IMAGES).partition(":")[2]),
    "docker-archive": lambda folder: new_docker_archive(folder / "place", IMAGES),
    "oci-archive": lambda folder: new_docker_archive(folder / "place", IMAGES),
    "docker-archive gzip": lambda folder: _packed(folder, gzip.compress),
    "docker-archive zstd": lambda folder: _packed(folder, one_frame),
}


def _packed(folder: Path, compress: Callable[[bytes], bytes]) -> Path:
    place = new_docker_archive(folder / "place", IMAGES)
    place.write_bytes(compress(place.read_bytes()))
    return place


def seen(source: Source) -> dict[str, object]:
    """Everything that is shown of a source but names, by image."""
    images: dict[str, object] = {}
    for image_id, image in source.store.map().items():
        with source.store.get_tar_seek_stream(image_id) as stream:
            content = stream.read()
        images[image_id] = (image.raw_config, image.parent, content, source.manifest(image_id))
    return images


def is_bad(source: Source) -> bool:
    report = Report(quiet=True, as_json=False)
    verify_source(Union([source]), (), report, no_progress)
    return report.bad > 0


def unnoticed(reference: str, indexer: Indexer, before: dict[str, object]) -> bool:
    """Whether what is seen has changed and nothing says so."""
    try:
        with closing(open_source(reference, indexer)) as source:
            return not is_bad(source) and seen(source) != before
    except (ImgfsError, OSError):
        return False


@pytest.mark.parametrize("kind", PLACES)
def test_what_any_flipped_bit_changes_is_noticed(tmp_path: Path, kind: str) -> None:
    (tmp_path / "made").mkdir()
    place = PLACES[kind](tmp_path / "made")
    reference = f"{kind.partition(' ')[0]}:{place}"
    rng = random.Random(kind)
    files = [path for path in place.rglob("*") if path.is_file() and path.stat().st_size] or [place]
    silent = []
    with indexing(tmp_path) as indexer:
        with closing(open_source(reference, indexer)) as source:
            assert not is_bad(source)
            before = seen(source)
        for number in range(FLIPS):
            path = files[number % len(files)]
            bit = rng.randrange(path.stat().st_size * 8)
            shutil.copy(path, tmp_path / "sound")
            flip(path, bit)
            if unnoticed(reference, indexer, before):
                silent.append(f"{path.relative_to(tmp_path)}, bit {bit}")
            shutil.copy(tmp_path / "sound", path)
    assert silent == []
