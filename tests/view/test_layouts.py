"""`oci/` and `docker.tar` of images, and `oci/` over all of them."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from imgfs.blob import blob_chunks
from imgfs.cache import Cache
from imgfs.digest import ImageID
from imgfs.errors import Corrupt, StoreError
from imgfs.saving import image_pieces
from imgfs.sources.open_union import open_union
from imgfs.sources.opening import Opening
from imgfs.view import File, RootDirectory, ViewOptions, WaitingDirectory
from tests.images import TestImage, digest, docker_archive, layer_tar, oci_layout
from tests.view.conftest import View, content, copy_out, find


def blobs(root: RootDirectory, path: str) -> dict[str, bytes]:
    """What is in the blobs of a layout, by digest."""
    directory = find(root, f"{path}/blobs/sha256")
    assert isinstance(directory, WaitingDirectory)
    directory.find(None)
    names = [name.decode() for name, _ in directory.entries()]
    assert names == sorted(set(names))
    return {f"sha256:{name}": content(root, f"{path}/blobs/sha256/{name}") for name in names}


def index(root: RootDirectory, path: str) -> list[dict[str, Any]]:
    """What the index of a layout lists."""
    assert json.loads(content(root, f"{path}/oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    document = json.loads(content(root, f"{path}/index.json"))
    assert document["schemaVersion"] == 2
    found: list[dict[str, Any]] = document["manifests"]
    return found


def inside(data: bytes) -> dict[str, bytes]:
    """The files of a tar."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]


def top_digest(layout: Path) -> str:
    """The digest of the first manifest of a layout."""
    return str(json.loads((layout / "index.json").read_text())["manifests"][0]["digest"])


@contextmanager
def changed_manifest(layout: Path) -> Iterator[dict[str, Any]]:
    """The first manifest of a layout, to be changed; its name leads to the other one then."""
    folder, index_file = layout / "blobs/sha256", layout / "index.json"
    manifest = json.loads((folder / top_digest(layout)[7:]).read_bytes())
    yield manifest
    data = json.dumps(manifest).encode()
    (folder / digest(data)[7:]).write_bytes(data)
    document = json.loads(index_file.read_text())
    document["manifests"][0] |= {"digest": digest(data), "size": len(data)}
    index_file.write_text(json.dumps(document))


def name_of(entry: dict[str, Any]) -> str:
    return str(entry["annotations"]["org.opencontainers.image.ref.name"])


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_layout_has_the_manifest_and_the_blobs_that_are_stored(
    view: View, tmp_path: Path, images: list[TestImage], compression: str
) -> None:
    layout = oci_layout(tmp_path / compression, images, compression)
    root = view(layout)
    stored = {f"sha256:{path.name}": path.read_bytes() for path in (layout / "blobs/sha256").iterdir()}
    everything = set[str]()
    for image in images:
        path = f"images/{image.id.hex}/oci"
        (entry,) = index(root, path)
        assert name_of(entry) == image.tags[0]
        manifest = json.loads(stored[entry["digest"]])
        named = [each["digest"] for each in (*manifest["layers"], manifest["config"], entry)]
        found = blobs(root, path)
        assert found == {name: stored[name] for name in named}
        everything |= found.keys()
    assert everything == stored.keys()


def test_a_manifest_of_dockers_form_is_shown_in_ocis(
    view: View, tmp_path: Path, images: list[TestImage]
) -> None:
    """In layouts; an archive has it as it is stored, as docker save has."""
    image = images[1]
    layout = oci_layout(tmp_path / "layout", [image], with_docker_types=True)
    with changed_manifest(layout) as manifest:
        foreign = manifest["layers"][0]
        foreign["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        foreign["urls"] = ["https://example.org/base"]
        manifest["layers"][1]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar"
        manifest["layers"][2]["mediaType"] = "x/y"
    root = view(layout)
    for path in (f"images/{image.id.hex}/oci", "oci"):
        entry = index(root, path)[0]
        assert entry["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
        found = blobs(root, path)
        assert all(digest(data) == name for name, data in found.items())
        shown = json.loads(found[entry["digest"]])
        assert shown["mediaType"] == entry["mediaType"]
        assert shown["config"] == manifest["config"] | {
            "mediaType": "application/vnd.oci.image.config.v1+json"
        }
        layer = "application/vnd.oci.image.layer."
        types = [f"{layer}nondistributable.v1.tar+gzip", f"{layer}v1.tar", "x/y"]
        assert shown["layers"] == [
            each | {"mediaType": media_type}
            for each, media_type in zip(manifest["layers"], types, strict=True)
        ]
    assert content(root, f"images/{image.id.hex}/manifest.json") == json.dumps(manifest).encode()
    files = inside(content(root, f"images/{image.id.hex}/docker.tar"))
    assert files[f"blobs/sha256/{top_digest(layout)[7:]}"] == json.dumps(manifest).encode()


def test_a_layout_is_made_of_the_tars_of_layers_where_there_is_no_manifest(
    view: View, archive: Path, images: list[TestImage]
) -> None:
    root = view(archive)
    for image in images:
        path = f"images/{image.id.hex}/oci"
        found = blobs(root, path)
        (entry,) = index(root, path)
        assert all(digest(data) == name for name, data in found.items())
        manifest = json.loads(found[entry["digest"]])
        assert manifest["config"]["digest"] == image.id
        assert [found[layer["digest"]] for layer in manifest["layers"]] == list(image.layers)
        assert found[image.id] == image.config
        assert len(found) == len(image.layers) + 2


def test_what_one_mount_shows_another_does_and_so_do_other_ways_of_storing_it(
    view: View, tmp_path: Path, archive: Path, images: list[TestImage]
) -> None:
    again = docker_archive(tmp_path / "again.tar", images[::-1])
    for image in images:
        for name in ("docker.tar", "oci/index.json"):
            path = f"images/{image.id.hex}/{name}"
            assert content(view(archive), path) == content(view(again), path)
    assert content(view(archive), "oci/index.json") == content(view(again), "oci/index.json")


def test_an_archive_has_what_docker_save_writes(view: View, layout: Path, images: list[TestImage]) -> None:
    root, image = view(layout), images[1]
    data = content(root, f"images/{image.id.hex}/docker.tar")
    files = inside(data)
    (item,) = json.loads(files["manifest.json"])
    assert item["Config"] == f"blobs/sha256/{image.id.hex}"
    assert item["RepoTags"] == list(image.tags)
    assert files[item["Config"]] == image.config
    manifest = json.loads(files["index.json"])["manifests"][0]["digest"][7:]
    described = [layer["digest"][7:] for layer in json.loads(files[f"blobs/sha256/{manifest}"])["layers"]]
    assert item["Layers"] == [f"blobs/sha256/{name}" for name in described]
    assert [entry["annotations"] for entry in json.loads(files["index.json"])["manifests"]] == [
        {
            "io.containerd.image.name": f"docker.io/{tag}",
            "org.opencontainers.image.ref.name": tag.partition(":")[2],
        }
        for tag in image.tags
    ]
    top = described[-1]
    assert json.loads(files["repositories"]) == {"example/child": {"1": top, "latest": top}}
    stored = blobs(root, f"images/{image.id.hex}/oci")
    assert {name: file for name, file in files.items() if name.startswith("blobs/")} == {
        f"blobs/sha256/{name[7:]}": file for name, file in stored.items()
    }
    names = [member.name for member in tarfile.open(fileobj=io.BytesIO(data))]  # noqa: SIM115
    assert names == sorted(names)
    assert names[:2] == ["blobs", "blobs/sha256"]
    assert len(data) % 512 == 0
    assert data[-1024:] == bytes(1024)


def test_an_archive_reads_any_range(view: View, archive: Path, images: list[TestImage]) -> None:
    node = find(view(archive), f"images/{images[-1].id.hex}/docker.tar")
    assert isinstance(node, File)
    with node.open() as blob:
        whole = blob.pread(blob.size, 0)
        assert len(whole) == blob.size == node.look_for_size()
        for offset in range(0, len(whole), 7919):
            assert blob.pread(10_000, offset) == whole[offset : offset + 10_000]


def test_an_image_without_a_name_or_a_layer(view: View, tmp_path: Path) -> None:
    nameless, empty = TestImage([layer_tar({"a": b"a"})]), TestImage([], ["empty:1"])
    root = view(docker_archive(tmp_path / "a.tar", [nameless, empty]))
    (entry,) = index(root, f"images/{nameless.id.hex}/oci")
    assert "annotations" not in entry
    files = inside(content(root, f"images/{nameless.id.hex}/docker.tar"))
    assert json.loads(files["manifest.json"])[0]["RepoTags"] is None
    assert "repositories" not in files
    files = inside(content(root, f"images/{empty.id.hex}/docker.tar"))
    assert json.loads(files["manifest.json"])[0]["Layers"] is None
    assert "repositories" not in files
    assert [name_of(entry) for entry in index(root, "oci") if "annotations" in entry] == ["empty:1"]
    assert len(index(root, "oci")) == 2


def test_the_layout_of_all_has_each_image_under_each_name(
    view: View, layout: Path, images: list[TestImage]
) -> None:
    root = view(layout)
    entries = index(root, "oci")
    assert [name_of(entry) for entry in entries] == sorted(tag for image in images for tag in image.tags)
    stored = {f"sha256:{path.name}": path.read_bytes() for path in (layout / "blobs/sha256").iterdir()}
    assert blobs(root, "oci") == stored


def test_a_blob_is_looked_up_without_those_of_others(
    view: View, layout: Path, images: list[TestImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def looked(snapshot: Any, image_id: ImageID, present: Any) -> Any:
        found.append(image_id)
        return original(snapshot, image_id, present)

    original = image_pieces
    monkeypatch.setattr("imgfs.view.saved_images.image_pieces", looked)
    grandchild = images[-1]
    manifest = content(view(layout), f"images/{grandchild.id.hex}/manifest.json")
    top = json.loads(manifest)["layers"][-1]["digest"]
    for wanted in (grandchild.id, digest(manifest), top):
        found.clear()
        directory = find(view(layout), "oci/blobs/sha256")
        assert isinstance(directory, WaitingDirectory)
        name = wanted[7:].encode()
        assert directory.lookup(name) is None
        directory.find(name)
        assert directory.lookup(name) is not None
        assert found == [grandchild.id]
        if wanted == top:
            for other in (b"0" * 64, b"x", b"\xff"):
                directory.find(other)
                assert directory.lookup(other) is None
            assert sorted(found) == sorted(image.id for image in images), "each once"


def test_an_image_that_cannot_be_read_for_a_moment_is_there_again(
    view: View, layout: Path, images: list[TestImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And meanwhile the others are; it is not tried at each look."""
    base, *_, broken = images
    tries = 0

    def fails(snapshot: Any, image_id: ImageID, present: Any) -> Any:
        nonlocal tries
        if image_id != broken.id:
            return image_pieces(snapshot, image_id, present)
        tries += 1
        raise StoreError("no room")

    monkeypatch.setattr("imgfs.view.saved_images.image_pieces", fails)
    root = view(layout)
    blob, name = find(root, "oci/blobs/sha256"), broken.id.hex.encode()
    assert isinstance(blob, WaitingDirectory)
    for _ in range(3):
        blob.find(name)
        assert blob.lookup(name) is None
        blob.find(base.id.hex.encode())
        assert blob.lookup(base.id.hex.encode()) is not None
        assert len(index(root, "oci")) == 3
        assert len(blobs(root, "oci")) == 7
    assert tries < 10
    monkeypatch.undo()
    monkeypatch.setattr("imgfs.view.mount_layout._AGAIN", 0)
    blob.find(name)
    assert blob.lookup(name) is not None
    assert len(index(root, "oci")) == 4
    assert blobs(root, "oci").keys() > {broken.id}


def test_what_is_forgotten_of_an_image_is_found_again(
    view: View, layout: Path, images: list[TestImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there are very many images, not all is kept of all."""
    monkeypatch.setattr("imgfs.view.saved_images._PIECES", 1)
    root = view(layout)
    directory = find(root, "oci/blobs/sha256")
    assert isinstance(directory, WaitingDirectory)
    directory.find(b"0" * 64)
    directory.find(None)
    for image in images:
        name = image.id.hex.encode()
        directory.find(name)
        assert directory.lookup(name) is not None


def test_an_image_that_is_stored_in_another_way_is_shown_as_it_is_stored_then(tmp_path: Path) -> None:
    image = TestImage([layer_tar({"a": b"a" * 5000})], ["a:1"])
    first, then = oci_layout(tmp_path / "a", [image]), oci_layout(tmp_path / "b", [image], "zstd")
    path = f"images/{image.id.hex}"
    with open_union([f"oci:{first}"], Opening(Cache(str(tmp_path / "cache"), 1 << 20))) as union:
        root = RootDirectory(union, ViewOptions())
        before, tar = blobs(root, f"{path}/oci"), find(root, f"{path}/docker.tar")
        shutil.rmtree(first)
        then.rename(first)
        assert union.refresh()
        after = blobs(root, f"{path}/oci")
        assert before.keys() & after.keys() == {image.id}
        assert blobs(root, "oci") == after
        assert find(root, f"{path}/docker.tar").key != tar.key
        files = inside(content(root, f"{path}/docker.tar"))
        assert {f"blobs/sha256/{name[7:]}" for name in after} < files.keys()
        root.close()


def test_sizes_of_made_layouts_are_known_once_those_of_layers_are(
    view: View, tmp_path: Path, images: list[TestImage]
) -> None:
    """Where manifests are stored, no layer is read to know them."""
    packed = oci_layout(tmp_path / "gzip", images)
    sizes: list[int | None] = []
    for source in (packed, docker_archive(tmp_path / "plain.tar", images[:1])):
        for name in ("docker.tar", "oci/index.json"):
            node = find(view(source), f"images/{images[0].id.hex}/{name}")
            assert isinstance(node, File)
            assert node.known_size is None
            size = node.look_for_size()
            assert size == node.known_size == node.find_size()
            sizes.append(size)
    assert None not in sizes


@pytest.mark.parametrize("lazy", [True, False])
def test_a_size_is_known_without_making_the_archive_again(
    view: View, layout: Path, images: list[TestImage], monkeypatch: pytest.MonkeyPatch, lazy: bool
) -> None:
    """Of very many names that takes long, and the event loop waits for what is known."""
    root, path = view(layout), f"images/{images[0].id.hex}/docker.tar"
    node = find(root, path)
    assert isinstance(node, File)
    assert node.known_size is None
    size = node.look_for_size() if lazy else node.find_size()
    monkeypatch.setattr("imgfs.view.docker_tar.docker_archive_entries", None)
    again = find(root, path)
    assert isinstance(again, File)
    assert again.known_size == size


def test_a_blob_that_is_missing_is_an_error_that_names_it(
    view: View, layout: Path, images: list[TestImage], caplog: pytest.LogCaptureFixture
) -> None:
    image = images[-1]
    for entry in json.loads((layout / "index.json").read_text())["manifests"]:
        manifest = json.loads((layout / "blobs/sha256" / entry["digest"][7:]).read_text())
        if manifest["config"]["digest"] == image.id:
            missing = manifest["layers"][-1]["digest"][7:]
            (layout / "blobs/sha256" / missing).unlink()
    root = view(layout)
    node = find(root, f"images/{image.id.hex}/docker.tar")
    assert isinstance(node, File)
    with (
        node.open() as blob,
        pytest.raises(StoreError, match=f"blob sha256:{missing} of a layer is not there"),
    ):
        blob.pread(blob.size, 0)
    assert len(index(root, "oci")) == 4
    find_all(root, "oci/blobs/sha256")
    file = find(root, f"oci/blobs/sha256/{missing}")
    assert isinstance(file, File)
    with pytest.raises(StoreError, match=missing):
        file.open()
    assert content(root, f"oci/blobs/sha256/{image.id.hex}") == image.config


def test_a_blob_that_one_place_lacks_is_shown_as_another_has_it(
    view: View, tmp_path: Path, archive: Path, images: list[TestImage]
) -> None:
    image = images[0]
    layout = oci_layout(tmp_path / "layout", [image])
    manifest = json.loads((layout / "blobs/sha256" / top_digest(layout)[7:]).read_bytes())
    (layout / "blobs/sha256" / manifest["layers"][1]["digest"][7:]).unlink()
    root, path = view(layout, archive), f"images/{image.id.hex}"
    found = blobs(root, f"{path}/oci")
    (entry,) = index(root, f"{path}/oci")
    described = [layer["digest"] for layer in json.loads(found[entry["digest"]])["layers"]]
    assert [found[layer] for layer in described] == list(image.layers)
    files = inside(content(root, f"{path}/docker.tar"))
    assert {f"blobs/sha256/{layer[7:]}" for layer in described} < files.keys()


@pytest.mark.parametrize("size", [-1, 0, 1 << 63, 1 << 70])
def test_a_layer_that_cannot_have_its_size_keeps_no_other_image_from_the_layout_of_all(
    view: View, tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    wrong, right = (TestImage([layer_tar({name: b"x" * 500})], [f"{name}:1"]) for name in ("wrong", "right"))
    layout = oci_layout(tmp_path / "layout", [wrong, right])
    with changed_manifest(layout) as manifest:
        manifest["layers"][0]["size"] = size
    root = view(layout)
    assert [name_of(entry) for entry in index(root, "oci")] == ["right:1"]
    assert blobs(root, "oci") == blobs(root, f"images/{right.id.hex}/oci")
    reason = f"blob {manifest['layers'][0]['digest']}: its descriptor says that it has {size} bytes"
    assert reason in caplog.text
    for name in ("docker.tar", "oci/index.json"):
        node = find(root, f"images/{wrong.id.hex}/{name}")
        assert isinstance(node, File)
        with pytest.raises(Corrupt, match=reason):
            node.open()


@pytest.mark.parametrize("fault", ["size", "missing"])
@pytest.mark.parametrize("first", ["right", "wrong", "neither"])
def test_an_image_that_is_wrong_about_a_blob_keeps_it_from_no_other(
    view: View, tmp_path: Path, fault: str, first: str
) -> None:
    """Its place lacks it, or it says another size; whichever of the images is seen first."""
    shared = layer_tar({"shared": b"s" * 5000})
    images = {
        "right": TestImage([shared], ["right:1"]),
        "wrong": TestImage([shared, layer_tar({"other": b"o"})], ["wrong:1"]),
    }
    layouts = [
        oci_layout(tmp_path / "wrong", [images["wrong"]]),
        oci_layout(tmp_path / "right", [images["right"]]),
    ]
    with changed_manifest(layouts[0]) as manifest:
        blob, missing = (layer["digest"][7:] for layer in manifest["layers"])
        manifest["layers"][0]["size"] += 7 if fault == "size" else 0
    (layouts[0] / "blobs/sha256" / missing).unlink()
    if fault == "missing":
        (layouts[0] / "blobs/sha256" / blob).unlink()
    root = view(*layouts)
    directory = find(root, "oci/blobs/sha256")
    assert isinstance(directory, WaitingDirectory)
    order = sorted(images, key=lambda each: each != first) if first != "neither" else []
    for name in [images[each].id.hex for each in order] + [blob]:
        directory.find(name.encode())
    looked_up = directory.lookup(blob.encode())
    directory.find(None)
    listed = dict(directory.entries())
    assert missing.encode() in listed
    for node in (looked_up, listed[blob.encode()], directory.lookup(blob.encode())):
        assert isinstance(node, File)
        with node.open() as opened:
            assert digest(opened.pread(node.known_size or 0, 0)) == f"sha256:{blob}"


def test_a_damaged_blob_is_an_error_at_its_end(view: View, layout: Path, images: list[TestImage]) -> None:
    """Whichever way it is read in order."""
    manifest = json.loads(content(view(layout), f"images/{images[0].id.hex}/manifest.json"))
    name = manifest["layers"][0]["digest"][7:]
    stored = bytearray((layout / "blobs/sha256" / name).read_bytes())
    stored[-10] ^= 1
    (layout / "blobs/sha256" / name).write_bytes(stored)
    root = view(layout)
    find_all(root, f"images/{images[0].id.hex}/oci/blobs/sha256")
    for path in (f"oci/blobs/sha256/{name}", "docker.tar"):
        node = find(root, f"images/{images[0].id.hex}/{path}")
        assert isinstance(node, File)
        with node.open() as blob, pytest.raises(Corrupt, match=f"blob sha256:{name}: failed to verify"):
            for _ in blob_chunks(blob):
                pass


def test_a_foreign_layer_need_not_be_there(view: View, tmp_path: Path) -> None:
    """Its manifest names it, and so does manifest.json, as docker save has it."""
    image = TestImage([layer_tar({"base": b"b"}), layer_tar({"own": b"o"})], ["windows:1"])
    layout = oci_layout(tmp_path / "layout", [image])
    with changed_manifest(layout) as manifest:
        foreign = manifest["layers"][0]
        foreign["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        foreign["urls"] = ["https://example.org/base"]
        (layout / "blobs/sha256" / foreign["digest"][7:]).unlink()
    root = view(layout)
    found = blobs(root, f"images/{image.id.hex}/oci")
    assert found.keys() == {top_digest(layout), image.id, manifest["layers"][1]["digest"]}
    files = inside(content(root, f"images/{image.id.hex}/docker.tar"))
    (item,) = json.loads(files["manifest.json"])
    assert [f"sha256:{name[13:]}" for name in item["Layers"]] == [
        layer["digest"] for layer in manifest["layers"]
    ]
    assert item["Layers"][0] not in files
    assert blobs(root, "oci") == found


def test_blobs_lie_under_the_algorithm_of_their_digests(view: View, tmp_path: Path) -> None:
    image = TestImage([layer_tar({"a": b"a"})], ["a:1"])
    layout = oci_layout(tmp_path / "layout", [image], "none")
    name = hashlib.sha512(image.layers[0]).hexdigest()
    (layout / "blobs/sha512").mkdir()
    (layout / "blobs/sha512" / name).write_bytes(image.layers[0])
    with changed_manifest(layout) as manifest:
        manifest["layers"][0]["digest"] = f"sha512:{name}"
    root = view(layout)
    for path in (f"images/{image.id.hex}/oci", "oci"):
        assert blobs(root, path).keys() == {top_digest(layout), image.id}
        for folder in ("sha256", "sha384"):
            other = find(root, f"{path}/blobs/{folder}")
            assert isinstance(other, WaitingDirectory)
            other.find(name.encode())
            assert other.lookup(name.encode()) is None
        copy_out(root, path, tmp_path / path.replace("/", "-"))
        assert (tmp_path / path.replace("/", "-") / "blobs/sha512" / name).read_bytes() == image.layers[0]


def test_what_comes_and_goes_does_so_in_the_layout_of_all(tmp_path: Path) -> None:
    """Blobs that several images have stay as long as one of them."""
    shared = layer_tar({"shared": b"s"})
    old = TestImage([shared, layer_tar({"old": b"o"})], ["old:1"])
    kept = TestImage([shared], ["kept:1"])
    new = TestImage([layer_tar({"new": b"n"})], ["new:1"])
    before, after = oci_layout(tmp_path / "a", [kept, old]), oci_layout(tmp_path / "b", [kept, new])
    with open_union([f"oci:{before}"], Opening(Cache(str(tmp_path / "cache"), 1 << 20))) as union:
        root = RootDirectory(union, ViewOptions())
        first = blobs(root, "oci")
        assert [name_of(entry) for entry in index(root, "oci")] == ["kept:1", "old:1"]
        for blob in (after / "blobs/sha256").iterdir():
            blob.rename(before / "blobs/sha256" / blob.name)
        (after / "index.json").rename(before / "index.json")
        assert union.refresh()
        root.vanished()
        assert [name_of(entry) for entry in index(root, "oci")] == ["kept:1", "new:1"]
        then = blobs(root, "oci")
        assert {old.id, new.id} & first.keys() == {old.id}
        assert {old.id, new.id} & then.keys() == {new.id}
        assert len(first.keys() & then.keys()) == 3, "what is shared, and the config and the manifest kept"
        root.close()


def find_all(root: RootDirectory, path: str) -> None:
    directory = find(root, path)
    assert isinstance(directory, WaitingDirectory)
    directory.find(None)
