"""Indexing for searches beside a mount: the layers that its sources have, and those that come later.

In a thread of the lowest priority, as the background verifier's. Tried by the tests of mounts.
"""

import logging
from threading import Event, Thread

from imgfs.cache import Cache
from imgfs.errors import ImgfsError, describe
from imgfs.layers.background import give_way
from imgfs.layers.progress import no_progress
from imgfs.locate.catalog import Catalog
from imgfs.locate.survey import Survey
from imgfs.sources.union import Snapshot, Union

logger = logging.getLogger("imgfs")

_POLL_SECONDS = 1.0


class BackgroundSurvey:
    """Indexes the layers of the sources in `union`, and keeps them in `cache`; close it at the end."""

    def __init__(self, union: Union, cache: Cache) -> None:
        self._union = union
        self._cache = cache.of(union.writers)
        self._stopped = Event()
        Thread(target=self._run, name="imgfs indexing", daemon=True).start()

    def close(self) -> None:
        """Stop soon."""
        self._stopped.set()

    def _run(self) -> None:
        give_way()
        seen: Snapshot | None = None
        catalog: Catalog | None = None
        while not self._stopped.is_set():
            snapshot = self._union.snapshot
            if snapshot is not seen:
                try:
                    catalog = Catalog(self._cache, {} if catalog is None else catalog.stamps)
                    survey = Survey(self._union, catalog, no_progress, logger.info, self._stopped.is_set)
                    survey.index(survey.layers())
                except (ImgfsError, OSError) as error:
                    logger.info("layers are not indexed: %s", describe(error))
                seen = snapshot
            self._stopped.wait(_POLL_SECONDS)
