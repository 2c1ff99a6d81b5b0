"""What a source is, once open: an image store, and names for its images.

The store itself is put together from a backend and a layer provider; see `imgfs.store`.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from imgfs.digest import Digest, ImageID
from imgfs.layers import LayerRegistry
from imgfs.store import ImageStore, Problem

logger = logging.getLogger("imgfs")


@dataclass(frozen=True, slots=True)
class Check:
    """Something that a source names: `what` it is, and `run`, which raises ImgfsError or OSError if it is bad.

    `digest` is that of its bytes, None where there is none.
    """

    what: str
    run: Callable[[], object]
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """What is kept as an image is, and is none: a signature, an attestation, a chart. `type` says what, if known."""

    digest: Digest
    type: str
    tags: Sequence[str] = ()


class Source(ABC):
    """One place that images come from.

    `reference` is how the source is written, such as `oci:/srv/layout`; `layers` is what `store` takes its
    layers from. `folder` is the absolute path of the directory that is read as long as the source is open, None where
    all it reads is open already. `writers` are the users who decide what lies there, as `writer_of` has them. Safe to
    use from several threads.
    """

    reference: str
    folder: str | None = None
    writers: frozenset[int] = frozenset()
    _is_lost = False
    store: ImageStore
    layers: LayerRegistry

    @property
    @abstractmethod
    def tags(self) -> Mapping[str, ImageID]:
        """Names of images in this source; every image named is in `store`."""

    @property
    def problems(self) -> Sequence[Problem]:
        """What is broken in the place and was skipped; logged when it was found."""
        return self.store.problems

    @property
    def artifacts(self) -> Sequence[Artifact]:
        """What is in this source and is no image."""
        return ()

    @abstractmethod
    def refresh(self) -> bool:
        """Look whether the place has changed and follow it; answers whether anything did.

        Cheap when nothing has changed. Raises ImgfsError or OSError when the place cannot be read any more, and
        leaves what was known as it was.
        """

    def report_lost(self, why: str) -> None:
        """Log why nothing of the place can be read any more, unless that was done since it last could."""
        if not self._is_lost:
            self._is_lost = True
            logger.warning("%s: what it lies on is gone: %s", self.reference, why)

    def find_again(self) -> None:
        """Note that the place can be read."""
        self._is_lost = False

    def checks(self) -> Iterable[Check]:
        """What can be checked besides the images' configs and layers. Raises ImgfsError or OSError."""
        return ()

    def manifest(self, image_id: ImageID) -> bytes | None:
        """The exact bytes of the image's manifest, None where the source has none."""
        return None

    def close(self) -> None:  # noqa: B027  # most hold nothing
        """Let go of files; blobs already open stay readable."""
