"""Archives of `docker save`, whole and broken."""

import io
import json
import logging
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgfs.digest import ImageID
from imgfs.errors import InvalidImage, LayerNotFound
from imgfs.layers import Indexer
from imgfs.sources import open_source
from imgfs.store import this_architecture
from tests.images import TestImage, docker_archive, family, layer_tar
from tests.indexing import indexing
from tests.layouts import Layout


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with indexing(tmp_path) as made:
        yield made


def _rewritten(path: Path, **changed: bytes | None) -> Path:
    """The archive with members replaced, or left out where None is given; `manifest` stands for manifest.json."""
    changes = {name.replace("manifest", "manifest.json"): data for name, data in changed.items()}
    target = path.with_suffix(".changed.tar")
    with tarfile.open(path) as old, tarfile.open(target, "w") as new:
        for member in old:
            content = old.extractfile(member) if member.isreg() else None
            data = content.read() if content else b""
            data = changes.get(member.name, data) or b""
            if member.name in changes and changes[member.name] is None:
                continue
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return target


def test_a_tag_in_the_reference_chooses(tmp_path: Path, indexer: Indexer) -> None:
    images = family()
    path = docker_archive(tmp_path / "x.tar", images)
    source = open_source(f"docker-archive:{path}:example/child:latest", indexer)
    assert list(source.store.map()) == [images[1].id]
    # it may be an ID, so all is read
    assert len(open_source(f"docker-archive:{path}:nonesuch", indexer).store) == len(images)


def test_a_tar_that_is_no_archive_of_images_is_refused(tmp_path: Path, indexer: Indexer) -> None:
    with tarfile.open(tmp_path / "x.tar", "w"):
        pass
    with pytest.raises(InvalidImage, match=r"no manifest\.json"):
        open_source(f"docker-archive:{tmp_path / 'x.tar'}", indexer)


@pytest.mark.parametrize("content", [b"{}", b"5", b'"text"', b"[" * 100_000, b"nonsense"])
def test_a_manifest_that_does_not_parse_is_named(tmp_path: Path, indexer: Indexer, content: bytes) -> None:
    path = _rewritten(docker_archive(tmp_path / "x.tar", family()), manifest=content)
    with pytest.raises(InvalidImage, match=r"manifest\.json"):
        open_source(str(path), indexer)


@pytest.mark.parametrize("config", [None, b"{}", b"no JSON"])
def test_an_image_whose_config_is_broken_is_left_out(
    tmp_path: Path, indexer: Indexer, caplog: pytest.LogCaptureFixture, config: bytes | None
) -> None:
    images = family()
    path = _rewritten(docker_archive(tmp_path / "x.tar", images), **{f"{images[0].id[7:]}.json": config})
    source = open_source(str(path), indexer)
    assert set(source.store.map()) == {image.id for image in images[1:]}
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert images[0].id[7:] in record.getMessage() or "example/base:1" in record.getMessage()


def test_a_layer_that_is_not_there_spoils_only_its_own_bytes(tmp_path: Path, indexer: Indexer) -> None:
    images = family()
    original = docker_archive(tmp_path / "x.tar", images)
    with tarfile.open(original) as archive:
        manifest = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
    path = _rewritten(original, **{manifest[-1]["Layers"][-1]: None})
    source = open_source(str(path), indexer)
    assert len(source.store.map()) == 3
    with pytest.raises((LayerNotFound, OSError)):
        source.store.get_tar_seek_stream(source.tags["example/grandchild:1"])
    with source.store.get_tar_seek_stream(source.tags["example/base:1"]) as stream:
        assert stream.read() == images[0].verbatim


def test_the_oldest_form_is_refused_by_name(tmp_path: Path, indexer: Indexer) -> None:
    path = _rewritten(docker_archive(tmp_path / "x.tar", family()), manifest=None)
    with pytest.raises(InvalidImage, match=r"no manifest\.json"):
        open_source(f"docker-archive:{path}", indexer)


def test_images_given_twice_are_one(tmp_path: Path, indexer: Indexer) -> None:
    images = family()
    twice = [TestImage(images[0].layers, ["a:1"]), TestImage(images[0].layers, ["b:1"])]
    source = open_source(str(docker_archive(tmp_path / "x.tar", twice)), indexer)
    assert list(source.store.map()) == [images[0].id]
    assert source.tags == {"a:1": images[0].id, "b:1": images[0].id}


def test_one_large_config_named_without_end_is_left_soon(tmp_path: Path, indexer: Indexer) -> None:
    image = TestImage([layer_tar({"a": b""})], extra={"filler": "x" * 3_900_000})
    manifest = json.dumps([{"Config": f"{image.id[7:]}.json", "Layers": []}] * 20_000)
    path = _rewritten(docker_archive(tmp_path / "x.tar", [image]), manifest=manifest.encode())
    source = open_source(f"docker-archive:{path}", indexer)
    assert list(source.store.map()) == [image.id]
    assert "configs and manifests take more than 512 MiB" in source.problems[-1]


@pytest.mark.parametrize(
    "name", ["0" * 64 + ".json", "0" * 64, "edited.json", "folder/" + "ab" * 32 + ".json"]
)
def test_a_config_whose_name_is_not_its_digest_is_taken_as_engines_take_it(
    tmp_path: Path, indexer: Indexer, name: str
) -> None:
    """The image's ID is the digest of what is there, whatever the name says."""
    layer = layer_tar({"file": b"content"})
    image = TestImage([layer])
    manifest = json.dumps([{"Config": name, "RepoTags": ["edited:1"], "Layers": ["l.tar"]}]).encode()
    path = _archive(tmp_path / "x.tar", {name: image.config, "l.tar": layer, "manifest.json": manifest})
    source = open_source(str(path), indexer)
    assert source.tags == {"edited:1": image.id}
    assert not source.problems


@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_config_below_blobs_must_be_what_its_name_says(
    tmp_path: Path, indexer: Indexer, caplog: pytest.LogCaptureFixture, prefix: str
) -> None:
    image = TestImage([])
    name = f"{prefix}blobs/sha256/{'0' * 64}"
    manifest = json.dumps([{"Config": name, "RepoTags": ["edited:1"], "Layers": None}]).encode()
    path = _archive(tmp_path / "x.tar", {name: image.config, "manifest.json": manifest})
    assert not open_source(str(path), indexer).store.map()
    assert "failed to verify" in caplog.text


@pytest.mark.parametrize("chosen", ["example/child", "docker.io/example/child:1", "@1", "DIGEST"])
def test_familiar_names_numbers_and_ids_choose(tmp_path: Path, indexer: Indexer, chosen: str) -> None:
    images = family()
    path = docker_archive(tmp_path / "x.tar", images)
    source = open_source(f"docker-archive:{path}:{chosen.replace('DIGEST', images[1].id)}", indexer)
    assert list(source.store.map()) == [images[1].id]


def test_a_parent_that_is_no_id_does_not_lose_the_image(tmp_path: Path, indexer: Indexer) -> None:
    image = TestImage([])
    manifest = json.dumps([{"Config": "c.json", "RepoTags": [None, "a:1"], "Parent": "nobody"}]).encode()
    path = _archive(tmp_path / "x.tar", {"c.json": image.config, "manifest.json": manifest})
    source = open_source(str(path), indexer)
    assert source.tags == {"a:1": image.id}
    assert len(source.problems) == 1


def _archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    "options", [["--format=gnu"], ["--format=posix"], ["--sparse-version=0.0"], ["--sparse-version=0.1"]]
)
@pytest.mark.parametrize("prefix", ["", "./"])
def test_sparse_members_are_read_with_their_holes(
    tmp_path: Path, indexer: Indexer, options: list[str], prefix: str
) -> None:
    """As `tar -S` packs an unpacked archive again, for a layer and for documents."""
    layer = layer_tar({"zeros": bytes(3 << 20), "file": b"content", "more": bytes(1 << 20) + b"end"})
    image = TestImage([layer], ["sparse:1"], extra={"filler": "x"})
    folder = tmp_path / "unpacked"
    folder.mkdir()
    subprocess.run(["tar", "-C", folder, "-xf", docker_archive(tmp_path / "x.tar", [image])], check=True)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        subprocess.run(["fallocate", "--dig-holes", path], check=True)
    target = tmp_path / "sparse.tar"
    names = [f"{prefix}{path.name}" for path in folder.iterdir()]
    subprocess.run(["tar", "-C", folder, *options, "-Scf", target, *names], check=True)
    assert target.stat().st_size < 1 << 20
    source = open_source(str(target), indexer)
    with source.store.get_tar_seek_stream(image.id) as stream:
        assert stream.read() == image.verbatim


def test_links_and_members_that_are_there_twice_are_as_when_extracting(
    tmp_path: Path, indexer: Indexer
) -> None:
    layer = layer_tar({"file": b"content"})
    image = TestImage([layer], ["a:1"])
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["one/layer.tar"]}]).encode()
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in (
            ("real/layer.tar", b"old"),
            ("./c.json", image.config),
            ("real/layer.tar", layer),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind, target in (
            ("hard/layer.tar", tarfile.LNKTYPE, "./real/layer.tar"),
            ("one/layer.tar", tarfile.SYMTYPE, "../hard/layer.tar"),
        ):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
        info = tarfile.TarInfo("/manifest.json")
        info.size = len(manifest)
        archive.addfile(info, io.BytesIO(manifest))
    source = open_source(str(path), indexer)
    with source.store.get_tar_seek_stream(image.id) as stream:
        assert stream.read() == layer


def _save_of_today(path: Path, **entries: object) -> tuple[Path, dict[str, str]]:
    """What Docker 29 saves of an image for two platforms with two names: `manifest.json` has one platform and one name.

    Returns the archive and the ID of each platform's image. `entries` replace the repository tags of `manifest.json`.
    """
    layout = Layout(path / "layout")
    ids, manifests, layers = {}, [], {}
    for architecture in ("amd64", "arm64"):
        platform = {"os": "linux", "architecture": architecture}
        ids[architecture], manifest = layout.image(architecture, architecture, platform=platform)
        manifests.append(manifest)
        document = json.loads((layout.path / "blobs/sha256" / str(manifest["digest"])[7:]).read_text())
        layers[architecture] = [f"blobs/{layer['digest'].replace(':', '/')}" for layer in document["layers"]]
    index = layout.index(*manifests)
    names = [
        {"annotations": {"io.containerd.image.name": f"docker.io/{name}"}}
        for name in ("library/multi:1", "a/b:2")
    ]
    layout.finish(*(index | name for name in names))
    saved = {
        "Config": f"blobs/{ids['arm64'].replace(':', '/')}",
        "RepoTags": ["multi:1"],
        "Layers": layers["arm64"],
    }
    (layout.path / "manifest.json").write_text(json.dumps([saved | entries]))
    with tarfile.open(path / "today.tar", "w") as archive:
        archive.add(layout.path, ".")
    return path / "today.tar", ids


def test_an_index_beside_the_manifest_has_all_platforms_and_names(tmp_path: Path, indexer: Indexer) -> None:
    path, ids = _save_of_today(tmp_path)
    source = open_source(str(path), indexer)
    assert set(source.store.map()) == set(ids.values())
    assert source.tags == dict.fromkeys(("multi:1", "a/b:2"), ids[this_architecture()])
    assert source.aliases["@0"] == ids["arm64"]
    assert all(source.manifest(ImageID(image_id)) for image_id in ids.values())
    assert not source.problems
    for architecture, image_id in ids.items():
        with source.store.get_tar_seek_stream(ImageID(image_id)) as stream:
            with tarfile.open(fileobj=stream) as layers:
                assert layers.getnames() == [architecture]


@pytest.mark.parametrize("wanted", ["a/b:2", "docker.io/a/b:2"])
def test_a_name_that_only_the_index_has_chooses(tmp_path: Path, indexer: Indexer, wanted: str) -> None:
    path, ids = _save_of_today(tmp_path)
    source = open_source(f"docker-archive:{path}:{wanted}", indexer)
    assert set(source.tags) >= {"a/b:2"}
    assert source.tags["a/b:2"] == ids[this_architecture()]


def test_a_name_that_the_manifest_gives_to_another_image_is_that_images(
    tmp_path: Path, indexer: Indexer
) -> None:
    other = TestImage([layer_tar({"other": b""})])
    config = f"blobs/{other.id.replace(':', '/')}"
    path, ids = _save_of_today(tmp_path, Config=config, Layers=["layer.tar"])
    with tarfile.open(path, "a") as archive:
        for name, data in ((config, other.config), ("layer.tar", other.layers[0])):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    source = open_source(str(path), indexer)
    assert source.tags == {"multi:1": other.id, "a/b:2": ids[this_architecture()]}
    assert set(source.store.map()) == {*ids.values(), other.id}


@pytest.mark.parametrize("index", [b"nonsense", b"{}", b"[]"])
def test_an_index_that_cannot_be_read_is_reported_and_the_manifest_counts(
    tmp_path: Path, indexer: Indexer, index: bytes
) -> None:
    path, ids = _save_of_today(tmp_path)
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("index.json")
        member.size = len(index)
        archive.addfile(member, io.BytesIO(index))
    source = open_source(str(path), indexer)
    assert source.tags == {"multi:1": ids["arm64"]}
    assert ["index.json" in problem for problem in source.problems] == [True]
