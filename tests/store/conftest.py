"""A store, its layers and its backend, for the tests of what it does."""

from pathlib import Path

import pytest

from imgfs.store import FSBackend, ImageStore, MemoryBackend, StoreBackend
from tests.store.stores import BOTTOM, MIDDLE, TOP, Layers


@pytest.fixture(params=["fs", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> StoreBackend:
    """Each kind of backend, empty."""
    return FSBackend(tmp_path / "imagedb") if request.param == "fs" else MemoryBackend()


@pytest.fixture
def layers() -> Layers:
    """A stack of three layers."""
    return Layers([BOTTOM, MIDDLE, TOP])


@pytest.fixture
def store(backend: StoreBackend, layers: Layers) -> ImageStore:
    """An empty store that may hold them."""
    return ImageStore(backend, layers)
