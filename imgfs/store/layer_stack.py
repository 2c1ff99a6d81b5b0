"""The layers of one image, bottom first, as a layer provider has them.

Holding the top layer holds the whole stack. A tar that is open holds its own layer besides, so that it stays
readable whatever becomes of the image.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

from imgfs.blob import MAX_SIZE
from imgfs.digest import ChainID, DiffID
from imgfs.errors import ImgfsError, LayerNotFound, StoreError, describe
from imgfs.layers import Layer, LayerMetadata, LayerProvider, chain_ids
from imgfs.tar import Member, TarBlob

logger = logging.getLogger("imgfs")


class LayerStack:
    """Layers that `provider` has under the chain IDs of `diff_ids`; none is held before `take`.

    Its user does the locking of `take` and `release`; the rest may be called at any time.
    """

    def __init__(self, provider: LayerProvider, diff_ids: Iterable[DiffID]) -> None:
        self._provider = provider
        self.diff_ids = tuple(diff_ids)
        self._chain_ids = tuple(chain_ids(self.diff_ids))
        self._top: Layer | None = None
        self._sizes: list[int | None] = [None] * len(self._chain_ids)  # as far as known; they never change
        self.has_looked_for_sizes = False

    def take(self) -> bool:
        """Hold the stack; answers whether that is new. Raises LayerNotFound or OSError if it is not there."""
        if self._top is not None or not self._chain_ids:
            return False
        self._top = self._provider.get(self._chain_ids[-1])
        return self._top is not None

    def release(self) -> list[LayerMetadata]:
        """Hold the stack no longer; answers the layers that nobody refers to any more, top first."""
        top, self._top = self._top, None
        return self._provider.release(top) if top is not None else []

    def open(self, *, tolerant: bool = False) -> list[TarBlob]:
        """The tar of each layer; closing one lets go of its layer.

        Raises LayerNotFound, or what `Layer.open` raises, if one of them is not there; with `tolerant`, only
        reading that one does.
        """
        with ExitStack() as undo:
            held = (self._open_layer(chain_id, tolerant) for chain_id in self._chain_ids)
            tars = [undo.enter_context(tar) for tar in held]
            undo.pop_all()
        return tars

    @property
    def is_there(self) -> bool:
        """Whether `provider` itself has every layer; whether they can be read too, only reading them tells."""
        try:
            for chain_id in self._chain_ids:
                self._provider.peek(chain_id).open().close()
        except (ImgfsError, OSError):
            return False
        return True

    def open_one(self, number: int) -> TarBlob:
        """The tar of one layer, counted from the bottom; closing it lets go of the layer. Raises as `open` does."""
        return _HeldTar(self._provider, self._chain_ids[number])

    def members(self) -> Iterator[Sequence[Member]]:
        """The members of each layer's tar, bottom first. Raises LayerNotFound, and what `Layer.members` raises."""
        for number in range(len(self._chain_ids)):
            yield self.members_of(number)

    def members_of(self, number: int) -> Sequence[Member]:
        """The members of one layer's tar. Raises as `members` does."""
        layer = self._provider.get(self._chain_ids[number])
        try:
            return layer.members()
        finally:
            self._provider.release(layer)

    def sizes(self) -> list[int | None]:
        """The size in bytes of each layer's tar as far as they are in memory. Never blocks."""
        return [self.size_of(number) for number in range(len(self._chain_ids))]

    def look_for_sizes(self) -> list[int | None]:
        """The size in bytes of each layer's tar as far as known without reading it; looks for them, so may block."""
        sizes = [self.look_for_size_of(number) for number in range(len(self._chain_ids))]
        self.has_looked_for_sizes = True
        return sizes

    @property
    def chain_ids(self) -> Sequence[ChainID]:
        """The chain ID of each layer, bottom first."""
        return self._chain_ids

    def is_verified(self, number: int) -> bool:
        """Whether the members of a layer come of bytes that have been compared with its diff ID.

        Raises LayerNotFound, and what opening the layer raises.
        """
        layer = self._provider.get(self._chain_ids[number])
        try:
            return layer.is_verified
        finally:
            self._provider.release(layer)

    def size_of(self, number: int) -> int | None:
        """The size in bytes of one layer's tar if it is in memory. Never blocks."""
        if self._sizes[number] is None:
            layer = self._provider.taken(self._chain_ids[number])
            self._sizes[number] = layer.known_size if layer else None
        return self._sizes[number]

    def look_for_size_of(self, number: int) -> int | None:
        """The size in bytes of one layer's tar if it is known without reading it; looks for it, so may block."""
        if self.size_of(number) is None:
            try:
                layer = self._provider.get(self._chain_ids[number])
                try:
                    self._sizes[number] = layer.look_for_size()
                finally:
                    self._provider.release(layer)
            except (ImgfsError, OSError) as error:  # raised again when it is opened
                logger.debug("no size of %s: %s", self._chain_ids[number], describe(error))
        return self._sizes[number]

    def _open_layer(self, chain_id: ChainID, tolerant: bool) -> TarBlob:
        try:
            return _HeldTar(self._provider, chain_id)
        except (ImgfsError, OSError) as error:
            if not tolerant:
                raise
            return _MissingTar(error)

    @property
    def known_size(self) -> int | None:
        """The size in bytes of all the tars, if it is in memory and a file can have it. Never blocks."""
        return end_to_end(self.sizes())

    def look_for_size(self) -> int | None:
        """The size in bytes of all the tars, if it is known without reading them and a file can have it. May block."""
        return end_to_end(self.look_for_sizes())


def end_to_end(sizes: Iterable[int | None]) -> int | None:
    """The sum of some sizes, None if one is not known, or if no file can have it."""
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total if total <= MAX_SIZE else None


class _HeldTar(TarBlob):
    """The tar of a layer taken from `provider`; closing it releases the layer."""

    def __init__(self, provider: LayerProvider, chain_id: ChainID) -> None:
        layer: Layer | None = provider.get(chain_id)
        if layer is None:
            raise LayerNotFound(f"no layer with chain ID {chain_id}")
        with ExitStack() as held:
            held.callback(provider.release, layer)
            self._tar = held.enter_context(layer.open())
            self._held = held.pop_all()

    @property
    def size(self) -> int:
        return self._tar.size

    @property
    def known_size(self) -> int | None:
        return self._tar.known_size

    def pread(self, size: int, offset: int) -> bytes:
        return self._tar.pread(size, offset)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        return self._tar.try_pread(size, offset)

    def ending_before(self, limit: int) -> int | None:
        return self._tar.ending_before(limit)

    def knows_ending_before(self, limit: int) -> bool:
        return self._tar.knows_ending_before(limit)

    def close(self) -> None:
        self._held.close()


class _MissingTar(TarBlob):
    """The tar of a layer that could not be opened, and why."""

    def __init__(self, why: Exception) -> None:
        self._why = why

    @property
    def size(self) -> int:
        raise StoreError(describe(self._why)) from self._why

    @property
    def known_size(self) -> int | None:
        return None

    def pread(self, size: int, offset: int) -> bytes:
        raise StoreError(describe(self._why)) from self._why

    def ending_before(self, limit: int) -> int | None:
        raise StoreError(describe(self._why)) from self._why
