"""Stores in which links lead elsewhere, as a hostile owner leaves them: nothing outside is opened, by any source."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from imgfs.digest import ImageID
from imgfs.errors import ImgfsError
from imgfs.layers import Indexer
from imgfs.own.loading import load_image
from imgfs.own.writer import Writer
from imgfs.sources import Source, open_source
from imgfs.sources.own.layout import Layout
from imgfs.store import FSBackend
from tests.conftest import Imgfs
from tests.images import TestImage, digest, docker_archive, layer_tar, oci_layout
from tests.indexing import indexing, no_progress
from tests.splitting import docker_root, graph_root
from tests.watching import Watch

ONE, TWO = (
    TestImage([layer_tar({"base": b"base"}), layer_tar({name: name.encode()})], [f"{name}:1"])
    for name in ("one", "two")
)


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with indexing(tmp_path) as made:
        yield made


def _docker(path: Path) -> str:
    return f"docker:{docker_root(path, [ONE, TWO])}"


def _containers_storage(path: Path) -> str:
    return f"containers-storage:{graph_root(path, [ONE, TWO])}"


def _containerd(path: Path) -> str:
    oci_layout(path / "io.containerd.content.v1.content", [ONE, TWO])
    return f"containerd:{path}"


def _docker_in_containerd(path: Path) -> str:
    _containerd(path / "containerd/daemon")
    return f"docker:{path}"


def _oci(path: Path) -> str:
    return f"oci:{oci_layout(path, [ONE, TWO])}"


def _own(path: Path) -> str:
    archive = docker_archive(path.with_suffix(".tar"), [ONE, TWO])
    with indexing(path.parent) as indexer, Writer(Layout(str(path)), indexer) as writer:
        with closing(open_source(f"docker-archive:{archive}", indexer)) as source:
            for image_id in source.store.map():
                load_image(source, image_id, writer, no_progress)
    return f"imgfs:{path}"


MAKERS: dict[str, Callable[[Path], str]] = {
    "docker": _docker,
    "containers-storage": _containers_storage,
    "containerd": _containerd,
    "docker-in-containerd": _docker_in_containerd,
    "oci": _oci,
    "own": _own,
}


def _read_all(source: Source) -> bytes:
    """Everything that a source shows, whatever of it fails."""
    shown = [repr(source.tags).encode()]
    for image_id, image in source.store.map().items():
        shown += [image.raw_config, source.manifest(ImageID(image_id)) or b""]
        with suppress(ImgfsError, OSError):
            with source.store.get_tar_seek_stream(ImageID(image_id)) as stream:
                shown.append(stream.read())
    return b"".join(shown)


def _open_and_read(reference: str, indexer: Indexer) -> bytes:
    try:
        with closing(open_source(reference, indexer)) as source:
            shown = _read_all(source)
            with suppress(ImgfsError, OSError):
                source.refresh()
            return shown + _read_all(source)
    except (ImgfsError, OSError):
        return b""


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_watched_is_seen(kind: str, tmp_path: Path, indexer: Indexer) -> None:
    """So that the next test can fail."""
    reference = MAKERS[kind](tmp_path / "store")
    with Watch(tmp_path / "store") as watch:
        shown = _open_and_read(reference, indexer)
        assert ONE.layers[1] in shown
        assert TWO.layers[1] in shown
        assert len(watch.seen()) > 5


@pytest.mark.parametrize("kind", MAKERS)
def test_nothing_is_opened_through_a_link_in_the_place_of_any_file_or_folder(
    kind: str, tmp_path: Path, indexer: Indexer
) -> None:
    """Each in turn lies outside, and a link in its place; once absolute, once relative."""
    store, outside = tmp_path / "store", tmp_path / "outside"
    reference = MAKERS[kind](store)
    places = [path.relative_to(store) for path in sorted(store.rglob("*"))]
    assert len(places) > 10
    for place in places:
        if "diff" in place.parts[:-1]:
            continue  # inside a layer's own tree, where links are the image's
        outside.mkdir()
        (store / place).rename(outside / "target")
        for target in (outside / "target", Path("../" * len(place.parts)) / "outside/target"):
            (store / place).symlink_to(target)
            with Watch(outside) as watch:
                _open_and_read(reference, indexer)
                assert watch.seen() == set(), place
            (store / place).unlink()
        (outside / "target").rename(store / place)
        shutil.rmtree(outside)
    assert TWO.layers[1] in _open_and_read(reference, indexer)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("docker", "image"),
        ("docker", "image/overlay2"),
        ("docker", "image/overlay2/imagedb/content"),
        ("docker", "image/overlay2/repositories.json"),
        ("containers-storage", "overlay-images"),
        ("containers-storage", "overlay-layers"),
        ("containers-storage", "overlay-images/images.json"),
        ("containers-storage", f"overlay-images/{ONE.id[7:]}"),
        ("containerd", "io.containerd.content.v1.content"),
        ("own", f"imagedb/content/sha256/{ONE.id[7:]}"),
        ("own", "repositories.json"),
    ],
)
def test_a_link_that_is_not_followed_is_named_with_what_to_do(
    kind: str, place: str, tmp_path: Path, indexer: Indexer
) -> None:
    store = tmp_path / "store"
    reference = MAKERS[kind](store)
    (store / place).rename(tmp_path / "target")
    (store / place).symlink_to(tmp_path / "target")
    try:
        with closing(open_source(reference, indexer)) as source:
            lines = [str(problem) for problem in source.problems]
    except ImgfsError as error:
        lines = [str(error)]
    assert len(lines) == 1
    assert f"{store / place}" in lines[0]
    assert "a symbolic link inside a store is not followed (a bind mount is)" in lines[0]


def test_a_blob_that_is_a_link_is_not_shown_as_a_layer(tmp_path: Path, indexer: Indexer) -> None:
    """Nobody has to know the content of the file: its size and any digest are all that a record needs."""
    (tmp_path / "secret").write_bytes(b"secret" * 100)
    name = "11" * 32
    image = TestImage([])
    config = json.loads(image.config) | {"rootfs": {"type": "layers", "diff_ids": [f"sha256:{name}"]}}
    Layout(str(tmp_path / "store")).create()
    FSBackend(tmp_path / "store/imagedb").set(json.dumps(config).encode())
    record = {"diffId": f"sha256:{name}", "blob": f"sha256:{name}", "size": 600}
    (tmp_path / "store/layers/sha256" / name).write_text(json.dumps(record))
    (tmp_path / "store/blobs/sha256" / name).symlink_to(tmp_path / "secret")
    with Watch(tmp_path / "store/layers") as records, Watch(tmp_path) as watch:
        shown = _open_and_read(f"imgfs:{tmp_path / 'store'}", indexer)
        assert records.seen()
        assert tmp_path / "secret" not in watch.seen()
    assert b"rootfs" in shown
    assert b"secret" not in shown


@pytest.mark.parametrize("act", ["load", "import", "tag", "rm", "create"])
@pytest.mark.parametrize(
    "place",
    ["tmp", "blobs", "blobs/sha256", "layers", "layers/sha256", "imagedb", "repositories.json", "lock"],
)
def test_nothing_is_written_or_removed_through_a_link_in_a_store_of_ours(
    place: str, act: str, tmp_path: Path, imgfs: Imgfs
) -> None:
    """By root, in a store of a user who has put links in it; what can be done without them is done."""
    store, target = tmp_path / "store", tmp_path / "target"
    _own(store)
    three = TestImage([layer_tar({"three": b"three"})], ["three:1"])
    archive = docker_archive(tmp_path / "three.tar", [three])
    (tmp_path / "folder").mkdir()
    (store / place).rename(target)
    (store / place).symlink_to(target)
    if act == "create":
        (store / "imgfs-store").unlink()
    before = {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in (target, *target.rglob("*"))}
    commands: dict[str, list[str | Path]] = {
        "load": ["load", archive],
        "import": ["import", tmp_path / "folder"],
        "tag": ["tag", "one:1", "new:1"],
        "rm": ["rm", "two:1"],
        "create": ["load", archive],
    }
    done = imgfs(*commands[act], "--store", store, status=None)
    assert b"internal error" not in done.stderr
    if done.returncode:
        assert str(store / place) in done.stderr.decode()
    after = {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in (target, *target.rglob("*"))}
    assert after == before


def test_links_inside_a_layout_are_followed(tmp_path: Path, indexer: Indexer) -> None:
    layout = oci_layout(tmp_path / "layout", [ONE])
    (layout / "blobs").rename(layout / "elsewhere")
    (layout / "blobs").mkdir()
    (layout / "blobs/sha256").symlink_to("../elsewhere/sha256")
    for path in list((layout / "elsewhere/sha256").iterdir()):
        path.rename(layout / f"{path.name}.blob")
        path.symlink_to(f"../../{path.name}.blob")
    (layout / "index.json").rename(layout / "index")
    (layout / "index.json").symlink_to("index")
    assert ONE.layers[1] in _open_and_read(f"oci:{layout}", indexer)


def test_a_layout_made_of_links_to_blobs_elsewhere_says_how_to_copy_it(
    tmp_path: Path, indexer: Indexer
) -> None:
    """As bazel's rules make them."""
    layout = oci_layout(tmp_path / "layout", [ONE])
    (tmp_path / "top/blobs/sha256").mkdir(parents=True)
    shutil.copy(layout / "index.json", tmp_path / "top")
    for path in (layout / "blobs/sha256").iterdir():
        (tmp_path / "top/blobs/sha256" / path.name).symlink_to(f"../../../layout/blobs/sha256/{path.name}")
    with closing(open_source(f"oci:{tmp_path / 'top'}", indexer)) as source:
        assert not source.store.map()
        (problem,) = source.problems
    assert problem.endswith(
        f": a symbolic link leads out of {tmp_path / 'top'} and is not followed "
        "(cp -rL makes a copy without links)"
    )


EXCHANGE = """
import ctypes, os, sys
one, two = map(os.fsencode, sys.argv[1:])
renameat2 = ctypes.CDLL(None).renameat2
print("ready", flush=True)
while not renameat2(-100, one, -100, two, 2):  # AT_FDCWD, RENAME_EXCHANGE
    pass
"""


@pytest.mark.parametrize("kind", ["oci", "containerd"])
def test_a_blob_that_is_exchanged_for_a_link_all_the_time_is_never_another_file(
    kind: str, tmp_path: Path, indexer: Indexer
) -> None:
    """An uncompressed layer, read in place. Between checking a path and opening it the link can get in its place."""
    tar = ONE.layers[1]
    store = tmp_path / "store"
    oci_layout(store / ("io.containerd.content.v1.content" if kind == "containerd" else ""), [ONE], "none")
    blob = next(store.rglob(digest(tar)[7:]))
    (tmp_path / "outside").write_bytes(b"secret".ljust(len(tar), b"!"))
    link = blob.with_name("link")
    link.symlink_to(tmp_path / "outside")
    image_id = ImageID(ONE.id)
    seen = set()
    with closing(open_source(f"{kind}:{store}", indexer)) as source:
        command = [sys.executable, "-c", EXCHANGE, str(blob), str(link)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as racer:
            assert racer.stdout is not None
            racer.stdout.readline()
            for _ in range(2000):
                with suppress(ImgfsError, OSError):
                    with source.store.get_tar_seek_stream(image_id) as stream:
                        stream.seek(len(ONE.layers[0]))
                        seen.add(stream.read(6))
            racer.kill()
    assert seen == {tar[:6]}


@pytest.mark.parametrize("place", ["overlay2", "overlay2/{}", "overlay2/{}/diff"])
def test_the_files_of_a_layer_are_not_read_through_a_link_above_them(
    place: str, tmp_path: Path, indexer: Indexer
) -> None:
    store = docker_root(tmp_path / "store", [ONE])
    cache_id = next((store / "overlay2").iterdir()).name
    path = store / place.format(cache_id)
    path.rename(tmp_path / "private")
    path.symlink_to(tmp_path / "private")
    with closing(open_source(f"docker:{store}", indexer)) as source:
        with pytest.raises(ImgfsError, match=f"^{path}.*: a symbolic link inside a store is not followed"):
            source.store.get_tar_seek_stream(ImageID(ONE.id)).read()
