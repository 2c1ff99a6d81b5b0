"""Registries as sources, against the registry of the distribution project."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import current_thread
from typing import Any

import pytest

from imgfs.cache import Cache
from imgfs.errors import NotFound, StoreError
from imgfs.registry.configuration import Configuration
from imgfs.registry.transport import Limits, Unreachable
from imgfs.sources import Source, open_source
from imgfs.sources.lookup import choose, image_meant
from imgfs.sources.opening import Opening
from imgfs.sources.registries import Registries
from imgfs.sources.remote_documents import THREADS
from imgfs.store import Platform
from tests.images import TestImage, layer_tar
from tests.indexing import indexing
from tests.layouts import LAYER, MANIFEST, Layout, artifacts
from tests.registry.filling import put_layout, put_manifest
from tests.registry.quirky import Quirky, running_quirky
from tests.registry.serving import docker_registry

CONFIG = "application/vnd.oci.image.config.v1+json"

PLATFORMS = {
    "amd64": {"os": "linux", "architecture": "amd64"},
    "arm64": {"os": "linux", "architecture": "arm64"},
    "arm": {"os": "linux", "architecture": "arm", "variant": "v7"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def many(folder: Path, address: str) -> dict[str, str]:
    """The repository `many`: images for three platforms with the tags `1` and `latest`, another image as `2`."""
    layout = Layout(folder / "many")
    ids, entries = {}, []
    for architecture, platform in reversed(PLATFORMS.items()):
        ids[architecture], entry = layout.image(f"for-{architecture}", architecture)
        entries.append(entry | {"platform": platform})
    index = layout.index(*entries)
    ids["other"], other = layout.image("other")
    tags = {"1": str(index["digest"]), "latest": str(index["digest"]), "2": str(other["digest"])}
    put_layout(address, "many", layout.path, tags)
    return ids | {"index": tags["1"]}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"), 1 << 30)


Make = Callable[..., Registries]


@pytest.fixture
def reach(cache: Cache) -> Make:
    """How registries without TLS are reached."""

    def make(**options: object) -> Registries:
        return Registries(cache, lambda: Configuration.load(tls_verify=False), **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def opened(tmp_path: Path, reach: Make) -> Iterator[Callable[..., Source]]:
    with indexing(tmp_path) as indexer:
        sources = []

        def open_(reference: str, registries: Registries | None = None) -> Source:
            sources.append(open_source(reference, indexer, registries or reach()))
            return sources[-1]

        yield open_
        for source in sources:
            source.close()


def requests(registries: Registries) -> tuple[int, int]:
    """How many requests were made but for those by which TLS and credentials are tried, and how many for blobs."""
    counts = registries.stats.as_dict()
    blobs: dict[str, dict[str, int]] = counts["blobs"]
    return registries.stats.total("requests") - 2, sum(each.get("requests", 0) for each in blobs.values())


def test_a_tag_has_the_images_of_all_platforms_and_names_the_one_for_this_machine(
    address: str, many: dict[str, str], opened: Callable[..., Source]
) -> None:
    source = opened(f"docker://{address}/many:1")
    assert set(source.store.map()) == {many[each] for each in PLATFORMS}
    assert source.tags == {f"{address}/many:1": many["amd64"]}
    assert source.aliases[f"{address}/many@{many['index']}"] == many["amd64"]
    assert source.reference == f"docker://{address}/many:1"
    assert not source.problems


def test_latest_is_meant_where_nothing_is_said(
    address: str, many: dict[str, str], opened: Callable[..., Source]
) -> None:
    assert opened(f"docker://{address}/many").tags == {f"{address}/many:latest": many["amd64"]}


def test_a_digest_names_an_index_or_an_image(
    address: str, many: dict[str, str], opened: Callable[..., Source]
) -> None:
    source = opened(f"docker://{address}/many@{many['index']}")
    assert set(source.store.map()) == {many[each] for each in PLATFORMS}
    assert source.tags == {}
    digest = next(alias for alias, of in source.aliases.items() if of == many["arm64"])
    assert set(opened(f"docker://{address}/many{digest}").store.map()) == {many["arm64"]}


def test_all_tags_are_those_that_are_no_referrers(
    address: str, many: dict[str, str], folder: Path, opened: Callable[..., Source]
) -> None:
    data = b'{"schemaVersion": 2, "manifests": []}'
    kind = "application/vnd.oci.image.index.v1+json"
    for tag in (f"sha256-{'0' * 64}", f"sha256-{'0' * 64}.sig"):
        put_manifest(address, "many", tag, data, kind)
    source = opened(f"docker://{address}/many:*")
    assert source.tags == {
        f"{address}/many:1": many["amd64"],
        f"{address}/many:2": many["other"],
        f"{address}/many:latest": many["amd64"],
    }
    assert not source.problems
    everything = opened(f"docker://{address}/")
    assert everything.tags.items() >= source.tags.items()


def test_a_platform_is_chosen(
    address: str, many: dict[str, str], opened: Callable[..., Source], reach: Make
) -> None:
    reference = f"docker://{address}/many:1"
    for text, meant in (("linux/arm64", "arm64"), ("linux/arm/v7", "arm"), ("linux/arm", "arm")):
        source = opened(reference, reach(platform=Platform.parse(text)))
        assert source.tags == {f"{address}/many:1": many[meant]}
        assert set(source.store.map()) == {many[meant]}
    windows = reach(platform=Platform.parse("windows/amd64"))
    with pytest.raises(StoreError, match=r"is for windows/amd64, but for linux/arm/v7, linux/arm64, linux/a"):
        opened(reference, windows)
    with pytest.raises(StoreError, match="is for linux/amd64, not windows/amd64"):
        opened(f"docker://{address}/many:2", windows)


def test_one_image_takes_one_manifest_and_one_config(
    address: str, many: dict[str, str], cache: Cache, reach: Make
) -> None:
    for expected in ((3, 1), (1, 0)):  # the index, the manifest, the config; then whether the tag is the same
        registries = reach()
        opening = Opening(cache, registries=registries)
        with choose(image_meant, [f"docker://{address}/many:1"], opening) as (chosen,):
            assert chosen.image_id == many["amd64"]
        assert requests(registries) == expected


def test_finding_reads_no_layer_and_nothing_twice(
    address: str, many: dict[str, str], opened: Callable[..., Source], reach: Make
) -> None:
    registries = reach()
    source = opened(f"docker://{address}/many:*", registries)
    # the tags, three manifests by tag, three by digest, four configs; some of several tags may be fetched twice
    assert requests(registries) in {(11, 4), (10, 4)}
    for image_id in source.store.map():
        stack = source.store.layers(image_id)
        assert stack.is_there
        assert stack.listed_size() is None
    assert requests(registries)[1] == 4
    again = reach()
    opened(f"docker://{address}/many:*", again)
    assert requests(again) == (4, 0)


def test_offline_finds_what_the_cache_has(
    address: str, many: dict[str, str], opened: Callable[..., Source], reach: Make
) -> None:
    reference = f"docker://{address}/many:1"
    with pytest.raises(StoreError, match=f"{reference}: it is not in the cache.*--offline"):
        opened(reference, reach(is_offline=True))
    online = [opened(f"docker://{address}/many{end}") for end in (":1", ":*")]
    for source, end in zip(online, (":1", ":*"), strict=True):
        registries = reach(is_offline=True, interval=0)
        offline = opened(f"docker://{address}/many{end}", registries)
        assert offline.tags == source.tags
        assert set(offline.store.map()) == set(source.store.map())
        assert not offline.refresh()
        assert not registries.stats.total("requests")
    with pytest.raises(StoreError, match="many:nope: it is not in the cache"):
        opened(f"docker://{address}/many:nope", reach(is_offline=True))


def test_what_is_damaged_in_the_cache_is_fetched_again(
    address: str, many: dict[str, str], cache: Cache, opened: Callable[..., Source]
) -> None:
    reference = f"docker://{address}/many:1"
    opened(reference)
    damaged = [entry for entry in cache.entries() if entry.name.endswith((".manifest", ".tag", ".blob"))]
    assert len(damaged) == 8  # the tag, an index, three manifests and three configs
    for kinds in ((".manifest",), (".tag",), (".blob",)):
        for entry in damaged:
            if entry.name.endswith(kinds):
                Path(entry.path).write_bytes(b"{}")
        source = opened(reference)
        assert set(source.store.map()) == {many[each] for each in PLATFORMS}
        assert not source.problems


def test_a_layer_that_is_not_in_the_cache_says_so_offline(
    address: str, many: dict[str, str], opened: Callable[..., Source], reach: Make
) -> None:
    opened(f"docker://{address}/many:2")
    source = opened(f"docker://{address}/many:2", reach(is_offline=True))
    with pytest.raises(StoreError, match=r"blob sha256:.*not in the cache.*--offline"):
        source.store.get_tar_seek_stream(next(iter(source.store.map()))).read()


def test_what_is_not_there_is_not_found(
    address: str, many: dict[str, str], opened: Callable[..., Source]
) -> None:
    for name in ("many:nope", "nope:1", f"many@sha256:{'0' * 64}"):
        with pytest.raises(NotFound, match=f"docker://{address}/{name}: .*unknown"):
            opened(f"docker://{address}/{name}")


def test_a_tag_that_moves_is_followed_after_a_while(
    folder: Path, address: str, opened: Callable[..., Source], reach: Make
) -> None:
    layout = Layout(folder / "moving")
    images = [layout.image(name) for name in ("one", "two")]
    digests = [str(entry["digest"]) for _, entry in images]
    put_layout(address, "moving", layout.path, {"t": digests[0]})
    now, later = reach(interval=0), reach()
    following, waiting = (opened(f"docker://{address}/moving:t", each) for each in (now, later))
    before = requests(later)
    assert not following.refresh()
    put_layout(address, "moving", layout.path, {"t": digests[1]})
    assert following.refresh()
    assert following.tags == {f"{address}/moving:t": images[1][0]}
    assert set(following.store.map()) == {images[1][0]}
    assert not waiting.refresh()
    assert requests(later) == before


def test_a_registry_that_is_away_leaves_what_was_known(
    folder: Path, opened: Callable[..., Source], reach: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(folder / "away")
    image, entry = layout.image("one")
    limits = Limits(connect=1, patience=5, attempts=1)
    monkeypatch.setattr("imgfs.registry.client.Limits", lambda: limits)
    registries = reach(interval=0.2)
    with docker_registry(folder / "gone") as address:
        put_layout(address, "app", layout.path, {"1": str(entry["digest"])})
        source = opened(f"docker://{address}/app:1", registries)
    time.sleep(0.2)
    asked, _ = requests(registries)
    for _ in range(3):
        with pytest.raises(Unreachable, match=f"docker://{address}/app:1: "):
            source.refresh()
    assert requests(registries)[0] == asked + 1
    assert set(source.store.map()) == {image}


@pytest.fixture
def quirky(monkeypatch: pytest.MonkeyPatch) -> Iterator[Quirky]:
    limits = Limits(patience=5, wait=0.1, attempts=1)
    monkeypatch.setattr("imgfs.registry.client.Limits", lambda: limits)
    with running_quirky() as registry:
        yield registry


def _put(quirky: Quirky, image: TestImage, *tags: str, has_config: bool = True) -> None:
    descriptors = [
        {"mediaType": kind, "digest": quirky.blob(data), "size": len(data)}
        for kind, data in ((CONFIG, image.config), *((LAYER, layer) for layer in image.layers))
    ]
    if not has_config:
        del quirky.blobs[image.id]
    document = {"schemaVersion": 2, "config": descriptors[0], "layers": descriptors[1:]}
    for tag in tags:
        quirky.manifest("app", tag, json.dumps(document).encode(), MANIFEST)


ONE, TWO = (TestImage([layer_tar({name: b""})]) for name in ("one", "two"))


@pytest.mark.parametrize("stated", ["", "sha256:" + "0" * 64, "nonsense"])
def test_what_a_registry_states_of_a_tag_is_a_hint_only(
    quirky: Quirky, opened: Callable[..., Source], reach: Make, stated: str
) -> None:
    quirky.faults.digest_header = stated
    _put(quirky, ONE, "1")
    source = opened(f"docker://{quirky.address}/app:1", reach(interval=0))
    assert not source.refresh()
    _put(quirky, TWO, "1")
    assert source.refresh()
    assert set(source.store.map()) == {TWO.id}


def test_a_tag_that_moves_to_what_cannot_be_read_leaves_what_was_known(
    quirky: Quirky, opened: Callable[..., Source], reach: Make
) -> None:
    _put(quirky, ONE, "1")
    source = opened(f"docker://{quirky.address}/app:1", reach(interval=0))
    _put(quirky, TWO, "1", has_config=False)
    with pytest.raises(StoreError, match="/app:1: its config is missing"):
        source.refresh()
    assert set(source.store.map()) == {ONE.id}
    quirky.blob(TWO.config)
    assert source.refresh()
    assert set(source.store.map()) == {TWO.id}


def test_tags_do_not_get_lost_because_a_request_fails(
    quirky: Quirky, opened: Callable[..., Source], reach: Make
) -> None:
    _put(quirky, ONE, "1")
    _put(quirky, TWO, "2")
    source = opened(f"docker://{quirky.address}/app:*", reach(interval=0))
    before = source.tags
    assert set(before.values()) == {ONE.id, TWO.id}
    quirky.faults.statuses = [500] * 4
    with suppress(StoreError):
        assert not source.refresh()
    assert source.tags == before
    quirky.faults.statuses = []
    quirky.manifest("app", "2", b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws")
    source.refresh()
    assert source.tags == before
    assert [problem.names for problem in source.problems] == [(f"{quirky.address}/app:2",)]
    del quirky.manifests["app", "2"]
    assert source.refresh()
    assert not source.problems
    assert set(source.tags.values()) == {ONE.id}


def test_a_broken_tag_is_a_problem_and_takes_no_other_along(
    quirky: Quirky, opened: Callable[..., Source]
) -> None:
    _put(quirky, ONE, "1")
    _put(quirky, TWO, "2", has_config=False)
    quirky.manifest("app", "3", b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws")
    source = opened(f"docker://{quirky.address}/app:*")
    assert set(source.tags.values()) == {ONE.id}
    assert len(source.problems) == 2
    assert {name for problem in source.problems for name in problem.names} == {
        f"{quirky.address}/app:2",
        f"{quirky.address}/app:3",
    }
    with pytest.raises(StoreError, match=r"app:3: .*schema 1"):
        opened(f"docker://{quirky.address}/app:3")


def test_a_registry_that_lists_no_repositories_is_an_error_that_says_so(
    quirky: Quirky, opened: Callable[..., Source]
) -> None:
    _put(quirky, ONE, "1")
    assert set(opened(f"docker://{quirky.address}/").store.map()) == {ONE.id}
    quirky.faults.statuses = [404]
    with pytest.raises(StoreError, match=f"docker://{quirky.address}/: it does not list its repositories"):
        opened(f"docker://{quirky.address}/")


def test_requests_for_many_tags_are_made_at_the_same_time(
    quirky: Quirky, opened: Callable[..., Source], reach: Make
) -> None:
    images = [TestImage(ONE.layers, extra={"author": str(number)}) for number in range(40)]
    for number, image in enumerate(images):
        _put(quirky, image, f"t{number}")
    threads = set[str]()
    registries = reach()
    send = registries.client.send

    def watched(request: Any) -> Any:
        threads.add(current_thread().name)
        return send(request)

    registries.client.send = watched  # type: ignore[method-assign]
    source = opened(f"docker://{quirky.address}/app:*", registries)
    assert set(source.store.map()) == {image.id for image in images}
    assert len(threads) > 4


@pytest.mark.parametrize(("path", "is_new"), [("/manifests/", False), ("/blobs/", True)])
def test_a_registry_that_stalls_is_asked_for_no_more(
    quirky: Quirky, opened: Callable[..., Source], reach: Make, path: str, is_new: bool
) -> None:
    for number in range(40):
        _put(quirky, TestImage(ONE.layers, extra={"author": str(number)}), f"t{number}")
    registries = reach(interval=0)
    source = None if is_new else opened(f"docker://{quirky.address}/app:*", registries)
    limits = Limits(connect=1, idle=0.3, pause=0.01, patience=5, attempts=1)
    registries.client.limits = registries.client._transport.limits = limits
    quirky.faults.slow, quirky.faults.slow_path = "nothing", path
    quirky.take()
    with pytest.raises(Unreachable, match="it does not answer in time"):
        source.refresh() if source is not None else opened(f"docker://{quirky.address}/app:*", registries)
    assert 1 <= sum(path in seen.path for seen in quirky.take()) <= (4 if is_new else 1) * THREADS


def test_a_registry_that_is_away_at_first_is_an_error_that_says_what_helps(
    quirky: Quirky, opened: Callable[..., Source], reach: Make
) -> None:
    _put(quirky, ONE, "1")
    reference = f"docker://{quirky.address}/app:1"
    opened(reference)
    for server in quirky.servers:
        server.shutdown()
        server.server_close()
    with pytest.raises(Unreachable, match=f"{reference}: .*--offline shows what the cache has"):
        opened(reference)
    assert set(opened(reference, reach(is_offline=True)).store.map()) == {ONE.id}


def test_artifacts_are_told_apart_without_their_layers(
    folder: Path, address: str, opened: Callable[..., Source], reach: Make
) -> None:
    layout = Layout(folder / "artifacts")
    made = artifacts(layout)
    tags = {
        name.replace(" ", "-"): str(entry["digest"])
        for name, entry in made.items()
        # the registry refuses some, and one is told by what it holds
        if name not in ("artifact manifest", "build cache", "cosign without media types", "oras of a folder")
        and "attestation" not in name
    }
    put_layout(address, "artifacts", layout.path, {})
    for tag, digest in tags.items():
        data = (layout.path / "blobs/sha256" / digest[7:]).read_bytes()
        put_manifest(address, "artifacts", tag, data)
    registries = reach()
    source = opened(f"docker://{address}/artifacts:*", registries)
    named = {tag for artifact in source.artifacts for tag in artifact.tags}
    assert named == {f"{address}/artifacts:{tag}" for tag in tags}
    assert not source.store.map()
