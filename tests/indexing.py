"""Indexers and progress for tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imgfs.cache import Cache
from imgfs.codec import SpanStats
from imgfs.codec.spans import UNCOUNTED
from imgfs.layers import Indexer


@contextmanager
def indexing(folder: Path, limit: int = 1 << 30, stats: SpanStats = UNCOUNTED) -> Iterator[Indexer]:
    """An indexer with a cache in `folder`, which is made and open as after its first use."""
    cache = Cache(str(folder / "cache"), limit)
    partial = cache.begin()
    if partial is not None:
        partial.close()
    indexer = Indexer(cache, stats=stats)
    try:
        yield indexer
    finally:
        indexer.close()


@contextmanager
def no_progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Progress that is not shown."""
    yield lambda count: None
