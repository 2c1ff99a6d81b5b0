"""How the registries that a command names are reached, all through one client.

Tried by the tests of the source of registries.
"""

import copy
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Self

from imgfs.cache import Cache
from imgfs.layers import TocUse
from imgfs.layers.progress import Progress, no_progress
from imgfs.registry.reference import Repository
from imgfs.registry.stats import Stats
from imgfs.sources.index_use import IndexUse
from imgfs.store.platform import Platform

if TYPE_CHECKING:  # most commands need neither, and importing them takes long
    from imgfs.registry.client import RegistryClient
    from imgfs.registry.configuration import Configuration

INTERVAL = 60.0
"""Seconds after which a registry is asked whether a tag has moved."""


def _load() -> "Configuration":
    from imgfs.registry.configuration import Configuration

    return Configuration.load()


class Registries:
    """What sources of registries share. The client is made, and `load` reads files, when it is first needed.

    Of an index, only images for `platform` are found if that is given; for one image, only the first, which is the one
    for this machine if there is one. Nothing but `cache` is looked into if `is_offline`. Whether a tag has moved is
    asked every `interval` seconds, INTERVAL if it is None. `toc` says which layers are read by their tables of
    contents. Indexes are used as `index_use` says, of `index_repository` if that is given, and else of the images' own.
    Fetching all of a layer is shown by `fetching`.
    """

    def __init__(
        self,
        cache: Cache,
        load: Callable[[], "Configuration"] = _load,
        *,
        platform: Platform | None = None,
        is_offline: bool = False,
        interval: float | None = None,
        toc: TocUse = TocUse.ANY,
        index_use: IndexUse | None = None,
        index_repository: Repository | None = None,
        fetching: Progress = no_progress,
    ) -> None:
        self.index_use = index_use or IndexUse()
        self.index_repository = index_repository
        self.toc = toc
        self.cache = cache
        self.platform = platform
        self.is_offline = is_offline
        self.is_for_one_image = False
        self.interval = INTERVAL if interval is None else interval
        self.stats = Stats()
        self.fetching = fetching
        self._load = load
        self._lock = Lock()
        self._clients: list[RegistryClient] = []

    def for_one_image(self) -> Self:
        """The same for finding one image of each index; the client is shared."""
        narrow = copy.copy(self)
        narrow.is_for_one_image = True
        return narrow

    @property
    def client(self) -> "RegistryClient":
        """The client. Raises StoreError if a file of configuration cannot be read."""
        from imgfs.registry.client import RegistryClient

        with self._lock:
            if not self._clients:
                client = RegistryClient(self._load(), self.stats, self.cache, is_offline=self.is_offline)
                self._clients.append(client)
            return self._clients[0]

    def close(self) -> None:
        """Close connections that are idle. What is read later opens new ones."""
        with self._lock:
            for client in self._clients:
                client.close()
