"""Images named in every form, out of every kind of source; what is seen of a source that names an image."""

import os
import tarfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from imgfs.cache import DEFAULT_LIMIT, Cache
from imgfs.digest import ImageID
from imgfs.errors import AmbiguousName, NotFound, StoreError
from imgfs.own.loading import load_images
from imgfs.own.writer import Writer
from imgfs.sources import open_source
from imgfs.sources.lookup import choose, image_meant, open_sources
from imgfs.sources.opening import Opening
from imgfs.sources.own.layout import Layout
from tests.images import TestImage, digest, docker_archive, layer_tar, oci_layout
from tests.indexing import indexing, no_progress
from tests.layouts import Layout as HandMade
from tests.layouts import tagged
from tests.sources.containerd.roots import Root
from tests.splitting import docker_root, graph_root

TARS = [layer_tar({name: name.encode()}) for name in ("one", "two")]


def _images(one: str, two: str) -> list[TestImage]:
    return [TestImage([tar], [tag]) for tar, tag in zip(TARS, (one, two), strict=True)]


ONE, TWO = (image.id for image in _images("", ""))
FULL = ("docker.io/library/app:latest", "localhost/other:1.0")
SHORT = ("app:latest", "other:1.0")

Forms = list[str]
"""How an image is named in a source, with `{}` for its name."""


def _own(folder: Path) -> Forms:
    archive = docker_archive(folder / "own.tar", _images(*SHORT))
    with indexing(folder) as indexer, Writer(Layout(str(folder / "store")), indexer) as writer:
        with closing(open_source(str(archive), indexer)) as source:
            assert not [done.error for done in load_images(source, writer, no_progress) if done.error]
    return [f"imgfs:[{folder}/store]{{}}"]


def _docker(folder: Path) -> Forms:
    return [f"docker:[{docker_root(folder / 'docker', _images(*SHORT))}]{{}}"]


def _containers_storage(folder: Path) -> Forms:
    root = graph_root(folder / "storage", _images(*FULL))
    return [
        f"containers-storage:[{place}]{{}}" for place in (root, f"overlay@{root}", f"overlay@{root}+/run/x")
    ]


def _containerd(folder: Path) -> Forms:
    root = Root(folder / "containerd", *_images(*FULL))
    root.name({"k8s.io": dict(zip(FULL, root.manifests, strict=True))})
    return [f"containerd:[{place}]{{}}" for place in (root.path, f"{root.path}#k8s.io")]


def _oci(folder: Path, names: tuple[str, str]) -> Forms:
    path = oci_layout(folder / "layout", _images(*names))
    return [f"oci:{path}:{{}}", f"{path}:{{}}", "oci:layout:{}", "./layout:{}", "layout:{}"]


def _oci_archive(folder: Path) -> Forms:
    with tarfile.open(folder / "layout.tar", "w") as archive:
        archive.add(oci_layout(folder / "layout", _images(*FULL)), ".")
    return [f"oci-archive:{folder}/layout.tar:{{}}", f"{folder}/layout.tar:{{}}", "layout.tar:{}"]


def _docker_archive(folder: Path) -> Forms:
    docker_archive(folder / "a.tar", _images(*FULL))
    return [
        f"docker-archive:{folder}/a.tar:{{}}",
        "docker-archive:a.tar:{}",
        f"{folder}/a.tar:{{}}",
        "a.tar:{}",
    ]


KINDS: dict[str, Callable[[Path], Forms]] = {
    "imgfs": _own,
    "docker": _docker,
    "containers-storage": _containers_storage,
    "containerd": _containerd,
    "oci": partial(_oci, names=FULL),
    "oci with short names": partial(_oci, names=SHORT),
    "oci-archive": _oci_archive,
    "docker-archive": _docker_archive,
}
NAMES: dict[str, ImageID] = {
    **dict.fromkeys(
        ("app", "app:latest", "library/app", "docker.io/app", "docker.io/library/app:latest"), ONE
    ),
    **dict.fromkeys(("other:1.0", "localhost/other:1.0", f"other:1.0@{TWO}"), TWO),
    **{
        name: image
        for image in (ONE, TWO)
        for name in (image, image.hex, image.short, image[:14], f"x@{image}")
    },
}


@pytest.fixture
def cache(tmp_path: Path, environment: None, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """With it, relative paths are those of the test's folder."""
    monkeypatch.chdir(tmp_path)
    return Cache(str(tmp_path / "cache"), DEFAULT_LIMIT)


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_a_name_leads_to_the_image_in_every_kind_of_source(
    tmp_path: Path, cache: Cache, kind: str
) -> None:
    names = dict(NAMES)
    if kind in ("imgfs", "docker", "oci with short names"):
        del names["localhost/other:1.0"]  # another name, as it is not of that registry
    if "oci" in kind or "archive" in kind:
        names |= {"@0": ONE, "@1": TWO}
    for form in KINDS[kind](tmp_path):
        for name, expected in names.items():
            term = form.format(name)
            with choose(image_meant, [f"{term}:/one"], Opening(cache)) as (chosen,):
                assert (chosen.image_id, chosen.path) == (expected, "/one"), term
                assert chosen.name is None or ("@sha" not in name and expected.hex[:5] not in name)
            with open_sources([term], Opening(cache)) as union:
                assert union.snapshot.wanted == list(union.snapshot.images) == [expected], term
        for absent in ("app:2", "absent", "@2", "ff" * 32, f"app@sha256:{'0' * 64}", "3", "x@"):
            with (
                pytest.raises((NotFound, StoreError)),
                choose(image_meant, [form.format(absent)], Opening(cache)),
            ):
                pass


def test_the_digest_of_a_manifest_names_its_image(tmp_path: Path, cache: Cache) -> None:
    layout = HandMade(tmp_path / "layout")
    arm, arm_entry = layout.image("a", "arm64", platform={"os": "linux", "architecture": "arm64"})
    here, here_entry = layout.image("b", platform={"os": "linux", "architecture": "amd64"})
    index = layout.index(arm_entry, here_entry)
    reference = layout.finish(index | tagged("app:1"))
    for entry, expected in ((arm_entry, arm), (here_entry, here), (index, here)):
        digest = str(entry["digest"])
        for name in (f"app@{digest}", f"@{digest}", digest, digest[7:], digest[7:19], digest[:20]):
            with choose(image_meant, [f"{reference}:{name}"], Opening(cache)) as (chosen,):
                assert chosen.image_id == expected


def test_digests_that_engines_record_name_images(tmp_path: Path, cache: Cache) -> None:
    manifest = digest(b"a manifest")
    docker = docker_root(tmp_path / "docker", [*_images(f"app@{manifest}", "other:1.0")])
    names = docker / "image/overlay2/repositories.json"
    names.write_text(names.read_text().replace('"app@sha256"', '"app"'))
    root = Root(tmp_path / "containerd", *_images(*FULL))
    root.name({"default": dict(zip(FULL, root.manifests, strict=True))})
    storage = graph_root(tmp_path / "storage", _images(f"docker.io/library/app@{manifest}", "other:1.0"))
    for term in (
        f"docker:[{docker}]app@{manifest}",
        f"containerd:[{root.path}]app@{root.manifests[0]}",
        f"containers-storage:[{storage}]app@{manifest}",
    ):
        with choose(image_meant, [term], Opening(cache)) as (chosen,):
            assert (chosen.image_id, chosen.name) == (ONE, None), term
            assert not [name for name in chosen.snapshot.tags if "@" in name]


def test_a_tag_alone_comes_under_the_name_of_its_layout(tmp_path: Path, cache: Cache) -> None:
    for name, tar in zip(("a", "b"), TARS, strict=True):
        oci_layout(tmp_path / name, [TestImage([tar], ["1.0"])])
    with open_sources(["oci:a", "oci:b"], Opening(cache)) as union:
        assert union.snapshot.tags == {"a:1.0": ONE, "b:1.0": TWO}
        assert union.snapshot.resolve("1.0") == ONE
    for term in ("oci:b:1.0", "oci:b:b:1.0", "b:1.0"):
        with choose(image_meant, [term], Opening(cache)) as (chosen,):
            assert (chosen.image_id, chosen.name) == (TWO, "b:1.0")


@pytest.mark.parametrize(
    ("short", "full", "listed"),
    [
        ("app:1", "docker.io/library/app:1", "app:1"),  # by imgfs save
        ("1", "docker.io/library/app:1", "docker.io/library/app:1"),  # by docker save and ctr
        ("localhost/app:1", "", "localhost/app:1"),  # by podman save
        ("app:1", "quay.io/other:2", "quay.io/other:2"),
    ],
)
def test_a_name_is_listed_as_it_was_saved(
    tmp_path: Path, cache: Cache, short: str, full: str, listed: str
) -> None:
    layout = HandMade(tmp_path / "layout")
    annotations = tagged(short)["annotations"] | ({"io.containerd.image.name": full} if full else {})
    image, entry = layout.image("a", annotations=annotations)
    layout.finish(entry)
    with open_sources(["oci:layout"], Opening(cache)) as union:
        assert union.snapshot.tags == {listed: image}
        for name in filter(None, (short, full)):
            assert union.snapshot.resolve(name) == image


def test_an_image_of_a_source_is_seen_with_its_parents_and_followed(tmp_path: Path, cache: Cache) -> None:
    base = TestImage([TARS[0]], ["base:1"])
    child = TestImage(TARS, ["app:1", "app:2"], base)
    other = TestImage([TARS[1]], ["other:1"])
    docker = docker_root(tmp_path / "docker", [base, child, other])
    with open_sources([f"docker:[{docker}]app:1"], Opening(cache)) as union:
        assert union.snapshot.wanted == [child.id]
        assert set(union.snapshot.images) == {base.id, child.id}
        assert set(union.snapshot.tags) == {"base:1", "app:1", "app:2"}
        names = docker / "image/overlay2/repositories.json"
        names.write_text(names.read_text().replace(f'"app:1": "{child.id}"', f'"app:1": "{other.id}"'))
        assert union.refresh()
        assert union.snapshot.wanted == list(union.snapshot.images) == [other.id]
        names.write_text("{}")
        assert union.refresh()
        assert not union.snapshot.images
    with open_sources(
        [f"docker:[{docker}]{image.id.short}" for image in (base, other)], Opening(cache)
    ) as union:
        assert set(union.snapshot.images) == set(union.snapshot.wanted) == {base.id, other.id}
    with open_sources([f"docker:[{docker}]{child.id.short}", f"docker:{docker}"], Opening(cache)) as union:
        assert set(union.snapshot.images) == {base.id, child.id, other.id}


def test_a_name_wins_over_a_directory_that_holds_no_images(tmp_path: Path, cache: Cache) -> None:
    os.makedirs("app/debian")
    for absent in ("app", "docker:[/absent]app"):
        with pytest.raises(StoreError), open_sources([absent], Opening(cache)):
            pass
    docker = docker_root(tmp_path / "docker", _images(*SHORT))
    with choose(image_meant, ["app"], Opening(cache), [f"docker:{docker}"]) as (chosen,):
        assert chosen.image_id == ONE


def test_a_name_of_different_images_is_an_error_for_a_source_too(tmp_path: Path, cache: Cache) -> None:
    for name, tar in zip(("a", "b"), TARS, strict=True):
        docker_root(tmp_path / name, [TestImage([tar], ["app:1"])])
    with (
        pytest.raises(AmbiguousName),
        choose(image_meant, ["app:1"], Opening(cache), ["docker:./a", "docker:./b"]),
    ):
        pass
