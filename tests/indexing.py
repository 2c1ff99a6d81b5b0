"""Indexers and progress for tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imgfs.cache import Cache
from imgfs.layers import Indexer


@contextmanager
def indexing(folder: Path, limit: int = 1 << 30) -> Iterator[Indexer]:
    """An indexer with a cache in `folder`."""
    indexer = Indexer(Cache(str(folder / "cache"), limit))
    try:
        yield indexer
    finally:
        indexer.close()


@contextmanager
def no_progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Progress that is not shown."""
    yield lambda count: None
