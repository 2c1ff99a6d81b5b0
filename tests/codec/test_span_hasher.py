"""Cutting decoded bytes into spans."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression, gzip, parallel_gzip
from imgfs.codec.parallel_gzip import Parallelism
from imgfs.codec.span_hasher import SPAN_SIZE, SpanHasher
from imgfs.codec.span_map import pack_map
from tests.codec.encoders import gzip_member, texture

DATA = texture("words", 4_000_000, 1)


@settings(max_examples=20)
@given(
    st.lists(st.integers(0, len(DATA) - 1), max_size=30, unique=True).map(sorted),
    st.lists(st.integers(100_000, 3_000_000), min_size=1, max_size=8),
)
def test_spans_begin_at_points_whatever_chunks_come(points: list[int], sizes: list[int]) -> None:
    """And a point may be reported as late as just before the bytes that follow it, or long before."""
    results = []
    for early in (True, False):
        hasher, waiting, position = SpanHasher(), list(points), 0
        while position < len(DATA):
            size = sizes[position % len(sizes)]
            while waiting and (early or waiting[0] < position + size):
                hasher.add_point(waiting.pop(0))
            hasher.update(DATA[position : position + size])
            position += size
        results.append(hasher.finish())
    spans = results[0]
    assert spans == results[1]
    ends = [*spans.offsets[1:], len(DATA)]
    digests = [hashlib.sha256(DATA[a:b]).digest() for a, b in zip(spans.offsets, ends, strict=True)]
    assert spans.digests == b"".join(digests)
    for start, end in pairwise([*spans.offsets, len(DATA)]):
        near = [point for point in points if start + SPAN_SIZE // 2 <= point <= start + SPAN_SIZE]
        assert end == min([*near, start + SPAN_SIZE, len(DATA)])


def test_nothing_has_no_spans() -> None:
    spans = SpanHasher().finish()
    assert not spans.offsets
    assert spans.digests == b""


@pytest.mark.parametrize("data", [DATA * 6, DATA + texture("noise", 9_000_000, 2)], ids=["words", "noise"])
def test_the_number_of_cores_makes_no_difference(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    results = set()
    stored = gzip_member(data, 1)
    assert len(stored) > SPAN_SIZE
    for workers in (1, 2, 4):
        monkeypatch.setattr(
            gzip, "steady", lambda workers=workers: Parallelism(SPAN_SIZE, workers, any_density=True)
        )
        monkeypatch.setattr(gzip, "gunzip_blocks", None)  # not fallen back to
        with Compression.GZIP.codec.decode_pass(MemoryBlob(stored), with_spans=True) as running:
            for chunk in running:
                running.give_back(chunk)
            windows = running.table.windows.pread(1 << 30, 0)
            results.add((pack_map(running.table, running.spans), windows))
    assert len(results) == 1
    # with more workers it makes a difference where the last megabytes are nearly all repetition
    assert parallel_gzip.steady() == Parallelism(SPAN_SIZE, 1, any_density=True)
