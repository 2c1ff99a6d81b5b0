"""The catalog in the cache: few segments, shared by processes, and what is damaged is dropped."""

from pathlib import Path

import pytest

from imgfs.cache import Cache
from imgfs.locate.catalog import KIND, Catalog
from imgfs.locate.segment_writer import PackedLayer, pack_layer
from tests.tree.stacks import Entry, layer_tree, tar


def layer(number: int, size: int = 3) -> PackedLayer:
    tree = layer_tree(tar([Entry(f"{number}-{entry}", b"0") for entry in range(size)]))
    return pack_layer(bytes([number] * 32), tree, None)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:  # type: ignore[override,unused-ignore]
    return Cache(str(tmp_path / "cache"), 1 << 30)


def keys(catalog: Catalog) -> list[int]:
    return sorted(key[0] for key in catalog.layers())


def test_layers_are_found_by_another_process(cache: Cache) -> None:
    Catalog(cache, {}).add([layer(1), layer(2)])
    catalog = Catalog(cache, {})
    assert keys(catalog) == [1, 2]
    assert catalog.layers()[bytes([2] * 32)].path(1) == b"2-0"


def test_small_segments_are_merged_and_large_ones_left_alone(cache: Cache) -> None:
    catalog = Catalog(cache, {})
    catalog.add([layer(0, 1000)])
    (large,) = cache.kept(KIND)
    for number in range(1, 20):
        catalog.add([layer(number)])
        assert large in cache.kept(KIND)
        assert len(cache.kept(KIND)) == len(catalog.segments) <= 5
    assert keys(catalog) == keys(Catalog(cache, {})) == list(range(20))


def test_layers_that_nothing_needs_are_dropped_once_they_are_most(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgfs.locate.catalog._FEW", 10)
    catalog, old = Catalog(cache, {}), []
    for number in range(1, 10):
        catalog.add([layer(number)], [bytes([0] * 32), bytes([number] * 32)])
        old.append(len(keys(catalog)))
    assert 1 < max(old) < 9
    assert 9 in keys(catalog)
    assert keys(Catalog(cache, {})) == keys(catalog)


def test_a_segment_whose_stamp_is_known_is_not_hashed_and_any_other_is(cache: Cache) -> None:
    catalog = Catalog(cache, {})
    catalog.add([layer(1)])
    (digest,) = cache.kept(KIND)
    path = Path(cache.folder) / "1" / f"{digest.replace(':', '-')}.{KIND}"
    path.write_bytes(path.read_bytes().replace(b"1-0", b"1-X"))
    again = Catalog(cache, catalog.stamps)
    assert keys(again) == []
    assert cache.kept(KIND) == []


def test_without_a_cache_layers_are_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    catalog = Catalog(Cache("/proc/none", 0), {})
    for number in range(3):
        catalog.add([layer(number)])
    assert keys(catalog) == [0, 1, 2]


def test_what_was_removed_meanwhile_is_gone(cache: Cache) -> None:
    first, second = Catalog(cache, {}), Catalog(cache, {})
    first.add([layer(1)])
    second.add([layer(2)])
    assert keys(Catalog(cache, {})) == [1, 2]
    third = Catalog(cache, {})
    third.add([layer(3)])
    assert keys(Catalog(cache, first.stamps)) == [1, 2, 3]
    assert keys(first) == [1], "what is mapped stays"
