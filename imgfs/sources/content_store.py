"""What copies need of a place beyond what is seen of it: manifests, configs and layers exactly as they are stored.

Only copying uses it: bytes are not compared with their digests here, and layers are not decoded.
Tried by the tests of copying.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from imgfs.blob import Blob
from imgfs.sources.manifests import Descriptor


class Top(NamedTuple):
    """What some names of a place lead to: the descriptor of an index or of a manifest."""

    descriptor: Descriptor
    names: Sequence[str]


class ContentStore(ABC):
    """A place that keeps manifests and blobs by digest; a `Finder` of such a place is one, too."""

    @abstractmethod
    def tops(self) -> Iterable[Top]:
        """What is named in the place, or is wanted of that, in its order. Raises ImgfsError or OSError."""

    @abstractmethod
    def open_content(self, descriptor: Descriptor) -> Blob:
        """The stored bytes of a manifest, an index, a config or a layer, as its media type says.

        They may be others than the digest says. Raises FileNotFoundError if they are not there, ImgfsError or OSError.
        """
