"""Where an image is read from, as long as any source has it."""

from imgfs.digest import ImageID
from imgfs.sources import Source
from imgfs.sources.union import Union
from imgfs.store import LayerStack


class Home:
    """The source that an image is read from, chosen when it is wanted; another takes over when it has it no more."""

    def __init__(self, image_id: ImageID, union: Union) -> None:
        self.image_id = image_id
        self._union = union
        self._source: Source | None = None

    @property
    def source(self) -> Source:
        """A source that has the image; once none has it, the last that had. Raises ImageNotFound if none ever did."""
        source = self._source
        if source is None or self.image_id not in source.store:
            snapshot = self._union.snapshot
            if source is None or self.image_id in snapshot.sources:
                source = self._source = snapshot.source_of(self.image_id)
        return source

    @property
    def layers(self) -> LayerStack:
        """The image's layers. Raises ImageNotFound once no source has it."""
        return self.source.store.layers(self.image_id)
