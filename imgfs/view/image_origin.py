"""Where an image is read from, as long as any source has it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from imgfs.digest import ImageID
from imgfs.errors import ImageNotFound, ImgfsError
from imgfs.sources import Source
from imgfs.sources.union import Union
from imgfs.store import LayerStack

T = TypeVar("T")


class ImageOrigin:
    """The source that an image is read from, chosen when it is needed; another takes over when it no longer has it."""

    def __init__(self, image_id: ImageID, union: Union) -> None:
        self.image_id = image_id
        self._union = union
        self._source: Source | None = None

    @property
    def known_source(self) -> Source | None:
        """What `source` returns, if the choice was made before, else None. Never blocks."""
        source = self._source
        if source is None or self.image_id not in source.store:
            snapshot = self._union.snapshot
            if source is None or self.image_id in snapshot.sources:
                source = self._source = snapshot.chosen_source(self.image_id)
        return source

    @property
    def source(self) -> Source:
        """A source that has the image; once none has it, the last that had. Raises ImageNotFound if none ever did.

        May block, as choosing looks for the layers.
        """
        source = self.known_source
        if source is None:
            source = self._source = self._union.snapshot.source_of(self.image_id)
        return source

    @property
    def origins(self) -> tuple[Source, ...]:
        """What reading the image may have to wait for: its source, or before that is chosen all that have it.

        Never blocks.
        """
        source = self.known_source
        return (source,) if source else tuple(self.sources)

    @property
    def sources(self) -> Sequence[Source]:
        """All sources that have the image, or once none has it, the one that it was read from. Never blocks."""
        last = self.known_source
        return self._union.snapshot.sources.get(self.image_id) or ([last] if last else [])

    def any_layers(self, is_so: Callable[[LayerStack], bool]) -> bool:
        """Whether something is so of the image's layers in any source that has it. Never blocks unless `is_so` does."""
        for source in self.sources:
            with suppress(ImageNotFound):
                if is_so(source.store.layers(self.image_id)):
                    return True
        return not self.sources

    @property
    def layers(self) -> LayerStack:
        """The image's layers. Raises ImageNotFound once no source has it. May block."""
        return self.source.store.layers(self.image_id)

    def read(self, work: Callable[[LayerStack], T]) -> T:
        """What `work` returns for the image's layers. May block. If it fails, the source is chosen again next time."""
        try:
            return work(self.layers)
        except (ImgfsError, OSError):
            snapshot = self._union.snapshot
            if self.image_id in snapshot.sources:
                snapshot.forget_choice(self.image_id)
                self._source = None
            raise

    @property
    def known_layers(self) -> LayerStack | None:
        """What `layers` returns, None if there are none or no source was chosen. Never blocks."""
        source = self.known_source
        try:
            return source.store.layers(self.image_id) if source else None
        except ImageNotFound:
            return None
