"""Parents as podman derives them, compared with a plain form of its rule; tests with engines compare podman itself."""

import json
import random
import tarfile
import time
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from imgfs.digest import ImageID
from imgfs.sources import open_source
from imgfs.sources.containers_storage.parents import Candidate, HistoryDigests, derive_parents
from imgfs.sources.union import Snapshot, Union
from imgfs.store import HistoryEntry, Image
from tests.conftest import Imgfs, Mount
from tests.histories import unclear_family
from tests.images import TestImage, docker_archive, layer_tar
from tests.indexing import indexing
from tests.splitting import graph_root


def _snapshot(root: Path, folder: Path) -> Snapshot:
    with (
        indexing(folder) as indexer,
        closing(Union([open_source(f"containers-storage:{root}", indexer)])) as union,
    ):
        return union.snapshot


def _parents_by_pairs(images: list[TestImage]) -> dict[ImageID, ImageID]:
    """The rule as podman has it, each image compared with each."""
    found = {}
    for child in images:
        candidates = [each for each in images if each.layers == child.layers]
        if len(child.layers) > 1:
            candidates += [each for each in images if each.layers == child.layers[:-1]]
        parent = next((each for each in candidates if each is not child and _is_parent(each, child)), None)
        if parent is not None:
            found[child.id] = parent.id
    return found


def _is_parent(parent: TestImage, child: TestImage) -> bool:
    before, after = ([_compared(step) for step in _history(image)] for image in (parent, child))
    return len(before) + 1 == len(after) and after[:-1] == before


def _history(image: TestImage) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = json.loads(image.config)["history"]
    return history


def _compared(step: dict[str, Any]) -> tuple[object, ...]:
    created = step.get("created")
    # and nanoseconds
    moment = (datetime.fromisoformat(created), created.endswith("001Z")) if created else None
    return moment, *(step.get(key) or "" for key in ("created_by", "author", "comment", "empty_layer"))


@pytest.mark.parametrize("seed", range(8))
def test_parents_are_those_of_the_rule(tmp_path: Path, seed: int) -> None:
    images = unclear_family(random.Random(seed), 60)
    snapshot = _snapshot(graph_root(tmp_path / "graph", images), tmp_path)
    expected = _parents_by_pairs(images)
    assert snapshot.parents == expected
    assert snapshot.derived == expected.keys()
    assert len(expected) > 10


def test_a_layer_that_many_images_have_takes_no_longer_for_each() -> None:
    """Compared in pairs, as podman does, these take an hour."""
    histories = [[HistoryEntry(created_by="a step")] * count for count in (1, 2)]
    image = Image.from_config(TestImage([layer_tar({"a": b"a"})]).config)
    candidates = [
        Candidate(
            replace(image, id=ImageID.of(b"%d" % number)), partial(HistoryDigests.of, history), "top", "below"
        )
        for number, history in enumerate(histories * 20_000)
    ]
    start = time.monotonic()
    parents = derive_parents(candidates)
    assert time.monotonic() - start < 20
    assert parents == {each.image.id: candidates[0].image.id for each in candidates[1::2]}


def test_diff_ids_have_to_be_the_first_of_the_child_whatever_the_layers_are(tmp_path: Path) -> None:
    step = {"created_by": "a step"}
    below, other = TestImage([layer_tar({"a": b"a"})]), TestImage([layer_tar({"b": b"b"})])
    child = TestImage([*below.layers, *other.layers], extra={"history": [step, step]})
    claims_other = TestImage(
        below.layers, extra={"history": [step], "rootfs": json.loads(other.config)["rootfs"]}
    )
    honest = TestImage(below.layers, extra={"history": [step]})
    root = graph_root(tmp_path / "graph", [claims_other, honest, child])
    assert _snapshot(root, tmp_path).parents == {child.id: honest.id}


def test_a_time_that_is_none_makes_no_parents(tmp_path: Path) -> None:
    """podman does not read such a config at all."""
    layer, step = layer_tar({"a": b"a"}), {"created": "yesterday"}
    images = [TestImage([layer], extra={"history": [step] * count}) for count in (1, 2)]
    assert _snapshot(graph_root(tmp_path / "graph", images), tmp_path).parents == {}


def _pair() -> tuple[TestImage, TestImage, TestImage]:
    """An image, one that is derived to be based on it, and one that is recorded to be."""
    layer = layer_tar({"a": b"a"})
    base = TestImage([layer], ["localhost/base:1"])
    steps = json.loads(base.config)["history"]
    child = TestImage(
        [layer],
        ["localhost/child:1"],
        extra={"history": [*steps, {"created_by": "more", "empty_layer": True}]},
    )
    builder = TestImage([layer, layer], ["localhost/built:1"], extra={"history": [], "parent": base.id})
    return base, child, builder


def test_a_parent_that_is_recorded_comes_before_one_that_is_derived(tmp_path: Path) -> None:
    base, child, _ = _pair()
    extra = {**child.extra, "parent": "sha256:" + "1" * 64}
    recorded = TestImage(child.layers, ["localhost/recorded:1"], extra=extra)
    snapshot = _snapshot(graph_root(tmp_path / "graph", [base, child, recorded]), tmp_path)
    assert snapshot.parents == {child.id: base.id, recorded.id: extra["parent"]}
    assert snapshot.derived == {child.id}


def test_no_image_is_derived_to_be_based_on_itself(tmp_path: Path) -> None:
    """A parent can be recorded of an image before there is one with this ID."""
    base, child, _ = _pair()
    docker = TestImage(base.layers, base.tags, parent=child)
    root, archive = (
        graph_root(tmp_path / "graph", [base, child]),
        docker_archive(tmp_path / "x.tar", [docker, child]),
    )
    with indexing(tmp_path) as indexer:
        sources = [open_source(f"containers-storage:{root}", indexer), open_source(str(archive), indexer)]
        with closing(Union(sources)) as union:
            assert union.snapshot.parents == {base.id: child.id}
            assert union.snapshot.derived == frozenset()


def test_what_is_derived_is_shown_as_such(tmp_path: Path, imgfs: Imgfs, mount: Mount) -> None:
    base, child, builder = _pair()
    source = f"containers-storage:{graph_root(tmp_path / 'graph', [base, child, builder])}"
    described = json.loads(imgfs("inspect", "--source", source, base.id, child.id, builder.id).stdout)
    assert [(of["Parent"], of["ParentDerived"]) for of in described] == [
        ("", False),
        (base.id, True),
        (base.id, False),
    ]
    assert described[0]["Children"] == sorted([child.id, builder.id])
    for command in ("ls", "tree"):
        rows = {row["id"]: row for row in json.loads(imgfs(command, "--json", source).stdout)}
        assert [rows[of.id].get("parent_derived") for of in (base, child, builder)] == [None, True, None]
    with mount(source) as top:
        folder = top / "images" / child.id[7:]
        assert (folder / "parent").read_text() == f"{base.id}\n"
        assert {path.name for path in (top / "images" / base.id[7:] / "children").iterdir()} == {
            child.id[7:],
            builder.id[7:],
        }
        assert {path.name for path in (top / "heads").iterdir()} == {child.id[7:], builder.id[7:]}


def test_what_is_derived_is_written_nowhere(tmp_path: Path, imgfs: Imgfs) -> None:
    base, child, builder = _pair()
    source = f"containers-storage:{graph_root(tmp_path / 'graph', [base, child, builder])}"
    imgfs("load", source)
    rows = {row["id"]: row["parent"] for row in json.loads(imgfs("tree", "--json", "imgfs:").stdout)}
    assert rows == {base.id: None, child.id: None, builder.id: base.id}
    names = [tag for image in (base, child, builder) for tag in image.tags]
    imgfs("save", "-o", tmp_path / "saved.tar", "--source", source, *names)
    with tarfile.open(tmp_path / "saved.tar") as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        parents = {item["RepoTags"][0]: item.get("Parent") for item in json.load(manifest)}
    assert parents == {base.tags[0]: None, child.tags[0]: None, builder.tags[0]: base.id}


def test_an_image_is_mounted_with_those_it_is_derived_from(tmp_path: Path, mount: Mount) -> None:
    base, child, _ = _pair()
    root = graph_root(tmp_path / "graph", [base, child])
    with mount(f"containers-storage:[{root}]{child.tags[0]}") as top:
        assert {path.name for path in (top / "images").iterdir()} == {base.id[7:], child.id[7:]}
