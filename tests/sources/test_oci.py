"""Image layouts as the specification allows them, and as attackers make them."""

import gzip
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from imgfs.errors import Corrupt, InvalidImage
from imgfs.layers import Indexer, verify_layer
from imgfs.own.loading import load_image
from imgfs.own.writer import Writer
from imgfs.sources import open_source
from imgfs.sources.own.layout import Layout as OwnLayout
from tests.images import TestImage, digest, layer_tar, oci_layout
from tests.indexing import indexing, no_progress
from tests.layouts import MANIFEST, Layout, artifacts, tagged


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with indexing(tmp_path) as made:
        yield made


def test_every_platform_of_nested_indexes_is_there(tmp_path: Path, indexer: Indexer) -> None:
    layout = Layout(tmp_path / "layout")
    arm, arm_entry = layout.image("a", "arm64", platform={"os": "linux", "architecture": "arm64"})
    here, here_entry = layout.image("b", "amd64", platform={"os": "linux", "architecture": "amd64"})
    third, third_entry = layout.image("c")
    inner = layout.index(arm_entry, here_entry)
    source = open_source(layout.finish(layout.index(inner, **tagged("t")), third_entry), indexer)
    assert set(source.store.map()) == {arm, here, third}


def test_a_tag_on_an_index_means_the_image_for_this_machine(
    tmp_path: Path, indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path / "layout")
    machines = {"aarch64": "arm64", "x86_64": "amd64", "armv7l": "arm", "i686": "386", "riscv64": "riscv64"}
    images = {
        machine: layout.image(machine, name, platform={"os": "linux", "architecture": name})
        for machine, name in machines.items()
    }
    reference = layout.finish(layout.index(*(entry for _, entry in images.values()), **tagged("t")))
    for machine, (expected, _) in images.items():
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        assert open_source(reference, indexer).tags == {"layout:t": expected}


def test_a_tag_in_the_reference_chooses(tmp_path: Path, indexer: Indexer) -> None:
    layout = Layout(tmp_path / "layout")
    one, one_entry = layout.image("a", **tagged("one"))
    _, two_entry = layout.image("b", **tagged("two"))
    reference = layout.finish(one_entry, two_entry)
    assert list(open_source(f"{reference}:one", indexer).store.map()) == [one]
    # it may be an ID, so all is read
    assert len(open_source(f"{reference}:three", indexer).store) == 2


def test_artifacts_are_neither_images_nor_broken(
    tmp_path: Path, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    layout = Layout(tmp_path / "layout")
    image, entry = layout.image("a")
    made = artifacts(layout)
    for below_an_index in (False, True):
        entries = [*made.values(), entry | tagged("t")]
        if below_an_index:
            entries = [layout.index(*entries, **tagged("t"))]
        source = open_source(layout.finish(*entries), indexer)
        assert source.tags == {"layout:t": image}
        assert not source.problems
        assert {artifact.digest for artifact in source.artifacts} == {of["digest"] for of in made.values()}
    assert not caplog.records


def test_attestations_of_platforms_that_were_not_pulled_are_not_listed(
    tmp_path: Path, indexer: Indexer
) -> None:
    layout = Layout(tmp_path / "layout")
    image, entry = layout.image("a")
    attestation = artifacts(layout)["attestation"]
    (layout.path / "blobs/sha256" / str(attestation["digest"])[7:]).unlink()
    source = open_source(layout.finish(layout.index(entry, attestation, **tagged("t"))), indexer)
    assert source.tags == {"layout:t": image}
    assert (source.artifacts, source.problems) == ([], [])


def test_an_artifact_has_its_type_and_its_names(tmp_path: Path, indexer: Indexer) -> None:
    layout = Layout(tmp_path / "layout")
    made = artifacts(layout)
    source = open_source(layout.finish(made["sbom"] | tagged("a"), made["helm"] | tagged("b")), indexer)
    assert [(artifact.type, list(artifact.tags)) for artifact in source.artifacts] == [
        ("application/spdx+json", ["layout:a"]),
        ("application/vnd.cncf.helm.config.v1+json", ["layout:b"]),
    ]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.container.image.v1+JSON; charset=utf-8",
        "application/octet-stream",
        "application/json",
        "text/html",
        "",
        None,
    ],
)
@pytest.mark.parametrize(
    "layer_type",
    [
        "application/vnd.oci.image.layer.v1.tar+xz",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/x-tar",
        "text/plain",
        None,
    ],
)
def test_media_types_that_engines_accept_are_of_images(
    tmp_path: Path, indexer: Indexer, media_type: str | None, layer_type: str | None
) -> None:
    """Docker takes the odd ones too, which registries and tools have put there; what a layer is, its bytes say."""
    layout = Layout(tmp_path / "layout")
    image = TestImage([layer_tar({"file": b"content"})])
    config = layout.blob(image.config) | {"mediaType": media_type}
    layer = layout.blob(image.layers[0]) | {"mediaType": layer_type}
    manifest = layout.blob(json.dumps({"config": config, "layers": [layer]}).encode())
    source = open_source(layout.finish(manifest | tagged("t")), indexer)
    assert source.tags == {"layout:t": image.id}
    with source.store.get_tar_seek_stream(image.id) as stream:
        assert stream.read() == image.verbatim


def test_platforms_that_are_not_there_are_no_problem_but_an_index_without_any_is(
    tmp_path: Path, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    """As docker save leaves the index of an image of which one platform was pulled."""
    layout = Layout(tmp_path / "layout")
    image, here = layout.image("a")
    gone: list[dict[str, object]] = [
        {"digest": f"sha256:{number:064x}", "platform": {"os": "linux", "architecture": "arm64"}}
        for number in range(3)
    ]
    sparse = layout.index(*gone, here, **tagged("sparse"))
    source = open_source(layout.finish(sparse), indexer)
    assert source.tags == {"layout:sparse": image}
    assert not source.problems
    assert not caplog.records
    source = open_source(layout.finish(sparse, layout.index(*gone, **tagged("none"))), indexer)
    (problem,) = source.problems
    assert "none leads to no image that is here" in problem
    assert problem.names == ("layout:none",)


def test_null_where_lists_could_be_is_an_empty_list(
    tmp_path: Path, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    """Go writes null for an empty slice."""
    layout = Layout(tmp_path / "layout")
    image, entry = layout.image("a")
    scratch = TestImage([])
    config = layout.blob(scratch.config) | {"mediaType": ""}
    documents: list[dict[str, object]] = [{"layers": None}, {"layers": []}, {}]
    entries = [layout.blob(json.dumps({"config": config, **document}).encode()) for document in documents]
    nothing = layout.blob(b'{"schemaVersion": 2, "manifests": null}')
    bare = entry | {"annotations": None, "platform": None, "urls": None, "size": None}
    source = open_source(layout.finish(nothing, bare, *entries), indexer)
    assert set(source.store.map()) == {image, scratch.id}
    assert not caplog.records
    (tmp_path / "layout/index.json").write_text('{"manifests": null}')
    assert not open_source(f"oci:{tmp_path / 'layout'}", indexer).store.map()


def test_an_index_that_is_a_manifest_as_well_is_refused(
    tmp_path: Path, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    """What one reader takes for the one, another would take for the other."""
    layout = Layout(tmp_path / "layout")
    _, entry = layout.image("a")
    manifest = json.loads((tmp_path / "layout/blobs/sha256" / str(entry["digest"])[7:]).read_bytes())
    both = layout.blob(json.dumps(manifest | {"manifests": [entry]}).encode())
    assert not open_source(layout.finish(both), indexer).store.map()
    assert "both an index and an image manifest" in caplog.text


@pytest.mark.parametrize(
    "chosen", ["v1", "my/app:v1", "docker.io/my/app:v1", "@1", "DIGEST", "my/app@DIGEST"]
)
def test_either_annotation_a_digest_and_a_number_choose(
    tmp_path: Path, indexer: Indexer, chosen: str
) -> None:
    layout = Layout(tmp_path / "layout")
    _, other = layout.image("other", **tagged("v2"))
    image, entry = layout.image("a")
    entry["annotations"] = {
        "io.containerd.image.name": "docker.io/my/app:v1",
        "org.opencontainers.image.ref.name": "v1",
        "odd": 5,
    }
    reference = f"{layout.finish(other, entry)}:{chosen.replace('DIGEST', str(entry['digest']))}"
    assert open_source(reference, indexer).tags == {"docker.io/my/app:v1": image}


def test_a_path_with_colons_can_have_a_tag(tmp_path: Path, indexer: Indexer) -> None:
    layout = Layout(tmp_path / "with:colons:in it")
    image, entry = layout.image("a", **tagged("localhost:5000/a/b:1"))
    reference = layout.finish(entry)
    for tag in ("", ":localhost:5000/a/b:1"):
        assert list(open_source(reference + tag, indexer).store.map()) == [image]


def test_the_same_manifest_named_often_is_read_once(tmp_path: Path, indexer: Indexer) -> None:
    """An index of a hundred thousand entries that are all the same neither takes long nor fails."""
    layout = Layout(tmp_path / "layout")
    image, entry = layout.image("a")
    many = layout.index(*[entry] * 10_000)
    assert list(open_source(layout.finish(*[many] * 100, entry), indexer).store.map()) == [image]


@pytest.mark.parametrize("change", [-512, 512])
def test_a_layer_of_another_size_than_the_manifest_says_is_corrupt(
    tmp_path: Path, indexer: Indexer, change: int
) -> None:
    """A plain one, too: its end may be gone, and no format would tell."""
    layout = Layout(tmp_path / "layout")
    _, manifest = layout.image("file")
    layer = tmp_path / "layout/blobs/sha256" / digest(layer_tar({"file": b""}))[7:]
    os.truncate(layer, layer.stat().st_size + change)
    source = open_source(layout.finish(manifest | tagged("x")), indexer)
    (image_id,) = source.store.map()
    with pytest.raises(Corrupt, match=f"has {layer.stat().st_size} bytes where"):
        source.store.open_layers(image_id)


@pytest.mark.parametrize(
    "name", ["../../secret", "sha256:../../secret", "sha256:" + "0" * 64, "md5:" + "0" * 32, ""]
)
def test_a_digest_that_is_none_is_skipped_and_named(
    tmp_path: Path, indexer: Indexer, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    layout = Layout(tmp_path / "layout")
    image, entry = layout.image("a")
    source = open_source(layout.finish({"mediaType": MANIFEST, "digest": name, "size": 1}, entry), indexer)
    assert list(source.store.map()) == [image]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert name in record.getMessage()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"manifests": 1}', b"[" * 100_000, b"\xff\xfe", b" " * (5 << 20)]
)
def test_an_index_that_is_none_is_a_clear_error(tmp_path: Path, indexer: Indexer, content: bytes) -> None:
    (tmp_path / "index.json").write_bytes(content)
    with pytest.raises(InvalidImage, match=r"index\.json"):
        open_source(f"oci:{tmp_path}", indexer)


def test_a_layout_is_followed_when_it_changes(tmp_path: Path, indexer: Indexer) -> None:
    layout = Layout(tmp_path / "layout")
    one, one_entry = layout.image("a", **tagged("one"))
    two, two_entry = layout.image("b", **tagged("two"))
    source = open_source(layout.finish(one_entry), indexer)
    assert not source.refresh()
    layout.finish(one_entry, two_entry)
    assert source.refresh()
    assert set(source.store.map()) == {one, two}
    layout.finish(two_entry)
    assert source.refresh()
    assert list(source.store.map()) == [two]
    assert source.tags == {"layout:two": two}


def test_a_manifest_that_comes_after_its_name_is_followed(tmp_path: Path, indexer: Indexer) -> None:
    layout = oci_layout(tmp_path / "layout", [TestImage([layer_tar({"a": b"1"})], ["a:1"])])
    (named,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = layout / "blobs" / named["digest"].replace(":", "/")
    away = manifest.rename(tmp_path / "away")
    time.sleep(0.1)
    source = open_source(f"oci:{layout}", indexer)
    assert not source.tags and not source.refresh()
    away.rename(manifest)
    assert source.refresh()
    assert [*source.tags] == ["a:1"]
    source.close()


def test_an_image_that_comes_anew_with_its_layers_stored_otherwise_is_read_on(
    tmp_path: Path, indexer: Indexer
) -> None:
    layout = Layout(tmp_path / "layout")
    layer = layer_tar({"file": b"content"})
    image = TestImage([layer])
    config = layout.blob(image.config) | {"mediaType": "application/vnd.oci.image.config.v1+json"}

    def push(stored: bytes) -> tuple[str, bytes]:
        manifest = json.dumps({"config": config, "layers": [layout.blob(stored)]}).encode()
        return layout.finish(layout.blob(manifest)), manifest

    source = open_source(push(gzip.compress(layer, mtime=0))[0], indexer)
    (image_id,) = source.store.map()
    (held,) = source.store.open_layers(image_id)
    assert held.pread(len(layer), 0) == layer
    _, manifest = push(zstandard.compress(layer))
    (tmp_path / "layout/blobs/sha256" / digest(gzip.compress(layer, mtime=0))[7:]).unlink(missing_ok=True)
    assert source.refresh()
    assert source.manifest(image_id) == manifest
    (again,) = source.store.open_layers(image_id)
    for tar in (again, held):
        assert tar.pread(len(layer), 0) == layer
        tar.close()


def test_layers_of_another_number_than_the_config_says_are_not_readable(
    tmp_path: Path, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    image = TestImage([layer_tar({"a": b""}), layer_tar({"b": b""})])
    path = oci_layout(tmp_path / "layout", [TestImage(image.layers, ["t"])])
    entry = json.loads((path / "index.json").read_text())["manifests"][0]
    manifest = json.loads((path / "blobs/sha256" / entry["digest"][7:]).read_text())
    manifest["layers"].pop()
    data = json.dumps(manifest).encode()
    (path / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
    entry["digest"] = digest(data)
    (path / "index.json").write_text(json.dumps({"manifests": [entry]}))
    source = open_source(f"oci:{path}", indexer)
    assert list(source.store.map()) == [image.id]
    assert "1 layers where its config has 2" in caplog.text


def test_one_large_config_named_without_end_is_left_soon(tmp_path: Path, indexer: Indexer) -> None:
    """Thousands of manifests that share a config which takes long to parse."""
    layout = Layout(tmp_path / "layout")
    image, entry = layout.image("a")
    history = [{"created_by": "x"}] * 150_000
    config = layout.blob(TestImage([layer_tar({"a": b""})], extra={"history": history}).config)
    config["mediaType"] = "application/vnd.oci.image.config.v1+json"
    manifests = [
        layout.blob(json.dumps({"config": config, "layers": [], "n": number}).encode())
        for number in range(2000)
    ]
    began = time.process_time()
    source = open_source(layout.finish(entry, *manifests), indexer)
    assert time.process_time() - began < 30
    assert list(source.store.map()) == [image]
    assert "configs and manifests take more than 512 MiB" in source.problems[-1]


def test_an_index_without_end_does_not_spoil_the_others(tmp_path: Path, indexer: Indexer) -> None:
    layout = Layout(tmp_path / "layout")
    image, entry = layout.image("a")
    missing: list[dict[str, object]] = [{"digest": f"sha256:{number:064x}"} for number in range(20_000)]
    source = open_source(layout.finish(layout.index(*missing), entry), indexer)
    assert list(source.store.map()) == [image]
    (problem,) = source.problems
    assert "more than 10000 manifests" in problem


def test_a_hundred_thousand_names_are_as_many_tags(tmp_path: Path, indexer: Indexer) -> None:
    layout = Layout(tmp_path / "layout")
    image, entry = layout.image("a")
    entries = [
        entry | {"annotations": {"org.opencontainers.image.ref.name": f"example.com/repository:{number}"}}
        for number in range(100_000)
    ]
    source = open_source(layout.finish(*entries), indexer)
    assert len(source.tags) == 100_000
    assert set(source.tags.values()) == {image}
    assert not source.problems


def test_names_that_take_too_much_are_left_out_and_what_came_before_stays(
    tmp_path: Path, indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgfs.sources.catalog._MEMORY", 50_000)
    layout = Layout(tmp_path / "layout")
    image, entry = layout.image("a")
    long = [
        entry | {"annotations": {"org.opencontainers.image.ref.name": f"{number}" + "x" * 10_000}}
        for number in range(10)
    ]
    source = open_source(layout.finish(entry, *long), indexer)
    assert set(source.tags.values()) == {image}
    assert 1 < len(source.tags) < 6
    (problem,) = source.problems
    assert "names take more than 50000 bytes" in problem


@pytest.mark.parametrize(
    ("index", "why"),
    [
        ('{"manifests":[],"x":' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"manifests":[' + "0," * 2_000_001 + "0]}", "more than 2000000 values"),
        ('{"manifests":[{"digest":"' + "\\u0061" * 1_000_000 + '"}]}', None),
        ('{"manifests":[{"digest":"x","size":' + "9" * 1_000_000 + "}]}", None),
        ('{"manifests":[{"digest":"x","size":1e' + "9" * 1_000_000 + "}]}", None),
    ],
    ids=["nested", "values", "escapes", "digits", "exponent"],
)
def test_an_absurd_index_is_refused_or_read(
    tmp_path: Path, indexer: Indexer, index: str, why: str | None
) -> None:
    path = tmp_path / "layout"
    path.mkdir()
    (path / "index.json").write_text(index)
    if why is None:
        assert not open_source(f"oci:{path}", indexer).store.map()
    else:
        with pytest.raises(InvalidImage, match=why):
            open_source(f"oci:{path}", indexer)


def test_problems_without_end_are_not_told_without_end(
    tmp_path: Path, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    layout = Layout(tmp_path / "layout")
    image, entry = layout.image("a")
    missing: list[dict[str, object]] = [{"digest": f"sha256:{number:064x}"} for number in range(2000)]
    source = open_source(layout.finish(*missing, entry), indexer)
    assert list(source.store.map()) == [image]
    assert len(caplog.records) == len(source.problems) == 1001
    assert "more problems" in source.problems[-1]


def test_more_layers_than_any_image_has_are_refused(
    tmp_path: Path, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    layout = Layout(tmp_path / "layout")
    config = layout.blob(TestImage([]).config) | {"mediaType": ""}
    layers = [{"digest": f"sha256:{number:064x}"} for number in range(20_000)]
    entry = layout.blob(json.dumps({"config": config, "layers": layers}).encode())
    assert not open_source(layout.finish(entry), indexer).store.map()
    assert "20000 layers are too many" in caplog.text


@pytest.mark.parametrize("is_there", [False, True])
def test_a_layer_that_is_missing_or_damaged_is_read_from_another_blob(
    tmp_path: Path, indexer: Indexer, caplog: pytest.LogCaptureFixture, is_there: bool
) -> None:
    """Stored three times: by another image at the bottom, and by a third on top of something."""
    layout = Layout(tmp_path / "layout")
    low, top = layer_tar({"low": b"1"}), layer_tar({"top": b"2"})
    stored = [gzip.compress(low, 1, mtime=0), gzip.compress(low, 9, mtime=0), zstandard.compress(low)]
    stacks = [([low, top], [stored[0], top]), ([low], [stored[1]]), ([top, low], [top, stored[2]])]
    entries = []
    for tars, blobs in stacks:
        config = layout.blob(TestImage(tars).config)
        manifest = {"config": config | {"mediaType": ""}, "layers": list(map(layout.blob, blobs))}
        entries.append(layout.blob(json.dumps(manifest).encode()))
    for bad in stored[:2]:
        path = tmp_path / "layout/blobs/sha256" / digest(bad)[7:]
        path.unlink()
        if is_there:
            path.write_bytes(bytes(len(bad)))
    source = open_source(layout.finish(*entries), indexer)
    for tars, _ in stacks:
        with source.store.get_tar_seek_stream(TestImage(tars).id) as stream:
            assert stream.read() == b"".join(tars)
    named = [digest(bad) for bad in stored[:2] if digest(bad) in caplog.text]
    assert named == [digest(bad) for bad in stored[:2]]


def test_a_manifest_that_says_another_size_does_not_spoil_a_blob_for_others(
    tmp_path: Path, indexer: Indexer
) -> None:
    layout = Layout(tmp_path / "layout")
    layer = layer_tar({"file": b"content"})
    image = TestImage([layer])
    config, blob = layout.blob(image.config) | {"mediaType": ""}, layout.blob(layer)
    entries = [
        layout.blob(json.dumps({"config": config, "layers": [blob | {"size": size}]}).encode())
        for size in (1, len(layer))
    ]
    source = open_source(layout.finish(*entries), indexer)
    with source.store.get_tar_seek_stream(image.id) as stream:
        assert stream.read() == layer


@pytest.mark.parametrize("compression", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("stored_algorithm", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("diff_algorithm", ["sha256", "sha512"])
def test_blobs_and_diff_ids_may_be_of_different_algorithms(
    tmp_path: Path, indexer: Indexer, compression: str, stored_algorithm: str, diff_algorithm: str
) -> None:
    layout = Layout(tmp_path / "layout")
    tars = [layer_tar({name: name.encode() * 1000}) for name in ("low", "top")]
    encoders: dict[str, Callable[[bytes], bytes]] = {
        "plain": bytes,
        "gzip": gzip.compress,
        "zstd": zstandard.compress,
    }
    encode = encoders[compression]

    def by(algorithm: str, data: bytes) -> str:
        return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"

    def blob(data: bytes) -> dict[str, object]:
        name = by(stored_algorithm, data)
        path = tmp_path / "layout/blobs" / name.replace(":", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return {"digest": name, "size": len(data)}

    rootfs = {"type": "layers", "diff_ids": [by(diff_algorithm, tar) for tar in tars]}
    image = TestImage([], extra={"rootfs": rootfs, "history": []})
    stored = [blob(encode(tar)) for tar in tars]
    manifest = blob(json.dumps({"config": blob(image.config), "layers": stored}).encode())
    source = open_source(layout.finish(manifest | tagged("t")), indexer)
    assert source.tags == {"layout:t": image.id}
    with source.store.get_tar_seek_stream(image.id) as stream:
        assert stream.read() == b"".join(tars)
    for chain_id in source.store.layers(image.id).chain_ids:
        verify_layer(source.layers.get(chain_id), lambda count: None)
    with Writer(OwnLayout(str(tmp_path / "store")), indexer) as writer:
        load_image(source, image.id, writer, no_progress)
    own = open_source(f"imgfs:{tmp_path / 'store'}", indexer)
    with own.store.get_tar_seek_stream(image.id) as stream:
        assert stream.read() == b"".join(tars)
    path = tmp_path / "layout/blobs" / str(stored[0]["digest"]).replace(":", "/")
    data = path.read_bytes()
    path.write_bytes(data[:-5] + b"!" + data[-4:])
    with pytest.raises(Corrupt, match=str(stored[0]["digest"])):
        verify_layer(source.layers.get(source.store.layers(image.id).chain_ids[0]), lambda count: None)
