"""Roots of containerd made in code: namespaces, damage and hostility. Real ones are in `tests.engines`."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgfs import blob
from imgfs.errors import SourceNotFound
from imgfs.layers import Indexer
from imgfs.sources import open_source
from imgfs.sources.containerd import docker_finder
from imgfs.sources.containerd.container_records import DatabaseRecords
from imgfs.sources.finder import Finder
from imgfs.sources.source import Source
from imgfs.sources.union import Union
from tests.images import TestImage, digest, layer_tar
from tests.indexing import indexing
from tests.layouts import Layout
from tests.sources.containerd.bolt_files import Tree, database_of
from tests.sources.containerd.roots import Root, entry


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with indexing(tmp_path) as made:
        yield made


ONE, TWO = (TestImage([layer_tar({name: name.encode()})]) for name in ("one", "two"))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root", ONE, TWO)


def _docker(path: Path) -> Finder:
    """What finds images of a Docker without containers."""
    files = blob.Root(path)
    return docker_finder(files, "docker:/x", "moby", DatabaseRecords(files, ()))


def test_a_name_in_two_namespaces_is_that_of_the_first(root: Root, indexer: Indexer) -> None:
    one, two = root.manifests
    root.name({"moby": {"same:1": one}, "default": {"same:1": two}, "k8s.io": {"same:1": one}})
    assert open_source(f"containerd:{root.path}", indexer).tags == {"same:1": TWO.id}
    assert open_source(f"containerd:{root.path}#moby", indexer).tags == {"same:1": ONE.id}


def test_names_that_are_digests_are_no_names(root: Root, indexer: Indexer) -> None:
    one, _ = root.manifests
    root.name({"k8s.io": {ONE.id: one, "a:1": one, f"b@{one}": one}})
    union = Union([open_source(str(root.path), indexer)])
    assert union.snapshot.tags == {"a:1": ONE.id}
    assert union.snapshot.repo_digests(ONE.id) == [f"a@{one}", f"b@{one}"]
    assert {union.snapshot.resolve(term) for term in (f"a@{one}", f"b@{one}", one, one[7:19])} == {ONE.id}


def test_an_image_has_the_digest_of_the_index_that_its_name_leads_to(
    tmp_path: Path, indexer: Indexer
) -> None:
    """As Docker shows it, and not those of the manifests in the index, which lead to an image, too."""
    layout = Layout(tmp_path / "io.containerd.content.v1.content")
    ids, manifests = zip(*(layout.image(name, name) for name in ("amd64", "arm64")), strict=True)
    index = str(layout.index(*manifests)["digest"])
    (tmp_path / "io.containerd.metadata.v1.bolt").mkdir()
    tree: Tree = {b"v1": {b"moby": {b"images": {b"docker.io/library/a:1": entry(index)}}}}
    (tmp_path / "io.containerd.metadata.v1.bolt/meta.db").write_bytes(database_of(tree))
    snapshot = Union([Source(_docker(tmp_path), indexer)]).snapshot
    here = snapshot.tags["a:1"]
    assert snapshot.repo_digests(here) == [f"a@{index}"]
    assert snapshot.by_digest(index) == snapshot.by_digest(index[7:]) == here
    for image_id, manifest in zip(ids, manifests, strict=True):
        assert snapshot.by_digest(str(manifest["digest"])) == image_id


def test_docker_sees_its_namespace_under_the_names_it_shows(root: Root, indexer: Indexer) -> None:
    one, two = root.manifests
    root.name({"default": {"other:1": one}})
    source = Source(_docker(root.path), indexer)
    assert source.reference == "docker:/x"
    assert not source.store.map()
    names = ("docker.io/library/a:1", "docker.io/me/b:1", "quay.io/c:1")
    root.name({"moby": dict.fromkeys(names, one) | {f"moby-dangling@{two}": two}})
    assert source.refresh()
    assert source.tags == dict.fromkeys(("a:1", "me/b:1", "quay.io/c:1"), ONE.id)
    assert set(source.store.map()) == {ONE.id, TWO.id}


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {b"target": {}},
        {b"target": b"a value"},
        {b"target": {b"digest": {b"a": b"bucket"}}},
        {b"target": {b"digest": b"sha256:../../../etc/passwd"}},
        {b"target": {b"digest": b"\xff\xfe"}},
        {b"target": {b"digest": b"sha256:" + b"0" * 64}},
    ],
)
def test_a_damaged_image_is_left_out_and_named(
    root: Root, indexer: Indexer, caplog: pytest.LogCaptureFixture, damaged: Tree
) -> None:
    one, _ = root.manifests
    root.write({"default": {b"bad\xff": damaged, b"good": entry(one)}})
    source = open_source(f"containerd:{root.path}", indexer)
    assert source.tags == {"good": ONE.id}
    (record,) = caplog.records
    assert "skipping" in record.getMessage()


def test_a_damaged_namespace_leaves_the_others(
    root: Root, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = root.manifests
    spaces = {"bad": {b"a%03d" % n: entry(one) for n in range(100)}, "good": {b"x": entry(one)}}
    root.write(spaces)
    data = bytearray(root.database.read_bytes())
    page = next(n for n in range(3, len(data) // 4096) if b"a050" in data[n * 4096 : n * 4096 + 4096])
    data[page * 4096 + 10 : page * 4096 + 12] = b"\xff\xff"  # its number of entries
    root.database.write_bytes(data)
    assert open_source(f"containerd:{root.path}", indexer).tags == {"x": ONE.id}
    (record,) = caplog.records
    assert f"namespace bad: {root.database}: page {page}" in record.getMessage()


def test_a_problem_that_stays_is_logged_once(
    root: Root, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = root.manifests
    root.write({"default": {b"bad": {}}})
    source = open_source(f"containerd:{root.path}", indexer)
    root.write({"default": {b"bad": {}, b"good": entry(one)}})
    assert source.refresh()
    assert source.tags
    assert len(source.problems) == len(caplog.records) == 1


def test_a_root_that_is_taken_away_is_an_error(root: Root, indexer: Indexer) -> None:
    root.name({"default": {"x": root.manifests[0]}})
    source = open_source(f"containerd:{root.path}", indexer)
    root.path.rename(root.path.with_name("elsewhere"))
    with pytest.raises(SourceNotFound):
        source.refresh()
    assert source.tags == {"x": ONE.id}


def test_a_name_that_leads_to_no_end_of_manifests_does_not_spoil_the_others(
    root: Root, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = root.manifests
    index = json.dumps({"manifests": [{"digest": f"sha256:{n:064x}"} for n in range(20_000)]}).encode()
    (root.content / "blobs/sha256" / digest(index)[7:]).write_bytes(index)
    root.name({"default": {"a": one, "hostile": digest(index), "z": two}})
    assert open_source(f"containerd:{root.path}", indexer).tags == {"a": ONE.id, "z": TWO.id}
    (record,) = caplog.records
    assert "hostile" in record.getMessage()


def test_a_time_in_the_future_is_not_waited_for(root: Root, indexer: Indexer) -> None:
    root.name({"default": {"one:1": root.manifests[0]}})
    os.utime(root.content / "blobs/sha256", (4e9, 4e9))
    source = open_source(f"containerd:{root.path}", indexer)
    assert not source.refresh()


def test_what_is_no_root_is_a_clear_error(tmp_path: Path, indexer: Indexer) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(SourceNotFound, match=f"{path}: no containerd there"):
            open_source(f"containerd:{path}", indexer)


def test_a_new_root_has_no_images(tmp_path: Path, indexer: Indexer) -> None:
    (tmp_path / "root/io.containerd.content.v1.content/ingest").mkdir(parents=True)
    source = open_source(f"containerd:{tmp_path / 'root'}", indexer)
    assert not source.store.map()


def test_a_database_that_is_no_file_is_not_waited_for(
    root: Root, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(root.database)
    source = open_source(f"containerd:{root.path}", indexer)
    assert set(source.store.map()) == {ONE.id, TWO.id}
    assert "not a regular file" in caplog.text


def test_a_folder_with_a_number_sign_in_its_name_is_a_folder(tmp_path: Path, indexer: Indexer) -> None:
    root = Root(tmp_path / "a#b", ONE)
    root.name({"default": {"x": root.manifests[0]}, "b": {}})
    assert open_source(f"containerd:{root.path}", indexer).tags == {"x": ONE.id}
    assert not open_source(f"containerd:{root.path}#b", indexer).tags


def test_scanning_looks_at_everything_and_believes_nothing(
    root: Root, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    """Links, pipes, folders, nonsense and a manifest under another's name, among the blobs."""
    blobs = root.content / "blobs/sha256"
    manifest = (blobs / root.manifests[0][7:]).read_bytes()
    (blobs / ("1" * 64)).write_bytes(manifest)
    (blobs / "not-a-digest").write_bytes(manifest)
    (blobs / ("2" * 64)).symlink_to(tmp := root.path / "outside")
    tmp.write_bytes(manifest)
    os.mkfifo(blobs / ("3" * 64))
    (blobs / ("4" * 64)).mkdir()
    (blobs / ("5" * 64)).write_bytes(b"{" * 100_000)
    with (blobs / ("6" * 64)).open("wb") as file:
        file.write(b"{")
        file.truncate(1 << 40)
    source = open_source(f"containerd:{root.path}", indexer)
    assert set(source.store.map()) == {ONE.id, TWO.id}
    assert [problem for problem in source.problems if "failed to verify" in problem]
    assert len(source.problems) == 3


def test_a_platform_of_which_only_documents_were_pulled_is_left_out(tmp_path: Path, indexer: Indexer) -> None:
    """As containerd 2 does, which pulls the configs of all platforms; without any layers, all are shown."""
    layout = Layout(tmp_path / "io.containerd.content.v1.content")
    here, there = "here", "there"
    (here_id, first), (there_id, second) = layout.image(here), layout.image(there)
    index = str(layout.index(first, second)["digest"])
    (tmp_path / "io.containerd.metadata.v1.bolt").mkdir()
    tree: Tree = {b"v1": {b"default": {b"images": {b"a:1": entry(index)}}}}
    (tmp_path / "io.containerd.metadata.v1.bolt/meta.db").write_bytes(database_of(tree))
    source = open_source(f"containerd:{tmp_path}", indexer)
    assert (set(source.store.map()), source.tags) == ({here_id, there_id}, {"a:1": here_id})
    for name, left in ((here, [there_id]), (there, [here_id, there_id])):
        (layout.path / "blobs/sha256" / digest(layer_tar({name: b""}))[7:]).unlink()
        os.utime(layout.path / "blobs/sha256", (1, 1 + len(left)))
        source.refresh()
        assert (set(source.store.map()), source.tags) == (set(left), {"a:1": left[0]})
