"""The layers of one image, bottom first, as a layer provider has them.

Holding the top layer holds the whole stack. A layer is taken from the provider while it is used, and given back: its
tar, once open, stays readable by itself.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from imgfs.blob import MAX_SIZE, Blob, Concatenation
from imgfs.digest import ChainID, DiffID
from imgfs.errors import ImgfsError, LayerNotFound, StoreError, describe
from imgfs.layers import (
    DigestMap,
    Layer,
    LayerMetadata,
    LayerProvider,
    chain_ids,
    file_digests,
    is_remote,
)
from imgfs.tar import TarBlob

logger = logging.getLogger("imgfs")

T = TypeVar("T")


class LayerStack:
    """Layers that `provider` has under the chain IDs of `diff_ids`; none is held before `take`.

    Its user does the locking of `take` and `release`; the rest may be called at any time.
    """

    __slots__ = ("_chain_ids", "_provider", "_sizes", "_top", "diff_ids", "has_looked_for_sizes")

    def __init__(self, provider: LayerProvider, diff_ids: Iterable[DiffID]) -> None:
        self._provider = provider
        self.diff_ids = tuple(diff_ids)
        self._chain_ids = tuple(chain_ids(self.diff_ids))
        self._top: Layer | None = None
        self._sizes: dict[int, int] = {}  # by number, as far as known; they never change
        self.has_looked_for_sizes = False

    def lowest(self, count: int) -> "LayerStack":
        """The lowest `count` of these layers."""
        return LayerStack(self._provider, self.diff_ids[:count])

    def take(self) -> bool:
        """Hold the stack; returns whether that is new. Raises LayerNotFound or OSError if it is not there."""
        if self._top is not None or not self._chain_ids:
            return False
        self._top = self._provider.get(self._chain_ids[-1])
        return self._top is not None

    def release(self) -> list[LayerMetadata]:
        """Release the stack; returns the layers that are no longer referred to, top first."""
        top, self._top = self._top, None
        return self._provider.release(top) if top is not None else []

    def open(self, *, tolerant: bool = False) -> list[TarBlob]:
        """The tar of each layer; the caller closes them.

        Raises LayerNotFound, or what `Layer.open` raises, if one of them is not there; with `tolerant`, only
        reading that one does.
        """
        with ExitStack() as undo:
            tars = [
                undo.enter_context(self._open_or_explain(number) if tolerant else self.open_one(number))
                for number in range(len(self._chain_ids))
            ]
            undo.pop_all()
        return tars

    def open_held(self) -> Blob:
        """The tars of all layers end to end, each layer held until this is closed. Raises as `open` does."""
        with ExitStack() as held:
            tars = []
            for number in range(len(self._chain_ids)):
                layer = held.enter_context(self._taken(number))
                tars.append(held.enter_context(layer.open()))
            return _HeldTars(tars, held.pop_all())

    @property
    def is_there(self) -> bool:
        """Whether `provider` itself has every layer; whether they can be read too, only reading them tells.

        Those that are on another machine are not asked for.
        """
        try:
            for chain_id in self._chain_ids:
                layer = self._provider.peek(chain_id)
                if layer.has_tar and not is_remote(layer):
                    layer.open().close()
        except (ImgfsError, OSError):
            return False
        return True

    def open_one(self, number: int) -> TarBlob:
        """The tar of one layer, counted from the bottom; the caller closes it. Raises as `open` does."""
        return self.use(number, lambda layer: layer.open())

    def open_content(self, number: int, copy: str | None) -> Blob:
        """What the files of one layer's tree hold, as `Layer.open_content` has it. Raises as `open` does."""
        return self.use(number, lambda layer: layer.open_content(copy))

    def file_digests(self, number: int, copy: str | None) -> DigestMap | None:
        """The digests of one layer's files as far as an index has them, at places as `open_content` has them."""
        return self.use(number, lambda layer: file_digests(layer, copy))

    def use(self, number: int, work: Callable[[Layer], T]) -> T:
        """What `work` returns for one layer, counted from the bottom, which is held meanwhile. Raises LayerNotFound."""
        with self._taken(number) as layer:
            return work(layer)

    @property
    def has_tars(self) -> bool:
        """Whether every layer that is there is kept in a way from which its tar can be had. Never blocks."""
        return all(map(self.has_tar, range(len(self._chain_ids))))

    def has_tar(self, number: int) -> bool:
        """Whether that is so of one layer, counted from the bottom. Never blocks."""
        layer = self._provider.taken(self._chain_ids[number])
        return layer is None or layer.has_tar

    @property
    def may_have_tars(self) -> bool:
        """Whether every layer that is there may give its tar, see `Layer.may_have_tar`. Never blocks."""
        return all(map(self.may_have_tar, range(len(self._chain_ids))))

    def may_have_tar(self, number: int) -> bool:
        """Whether that is so of one layer, counted from the bottom. Never blocks."""
        layer = self._provider.taken(self._chain_ids[number])
        return layer is None or layer.may_have_tar

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
        """Whether the tree of a layer comes of bytes that have been compared with its diff ID.

        Raises LayerNotFound, and what opening the layer raises.
        """
        return self.use(number, lambda layer: layer.is_verified)

    def size_of(self, number: int) -> int | None:
        """The size in bytes of one layer's tar if it is in memory. Never blocks."""
        if number not in self._sizes:
            layer = self._provider.taken(self._chain_ids[number])
            self._note_size(number, layer.known_size if layer else None)
        return self._sizes.get(number)

    def look_for_size_of(self, number: int) -> int | None:
        """The size in bytes of one layer's tar if it is known without reading it; looks for it, so may block."""
        if self.size_of(number) is None:
            try:
                self._note_size(number, self.use(number, lambda layer: layer.look_for_size()))
            except (ImgfsError, OSError) as error:  # raised again when it is opened
                logger.debug("no size of %s: %s", self._chain_ids[number], describe(error))
        return self._sizes.get(number)

    def listed_size(self) -> int | None:
        """The size in bytes of all layers as `Layer.listed_size` has it, None if one is not known. May block.

        Looks into no other provider: thousands of stacks may be asked.
        """
        total = 0
        for number in range(len(self._chain_ids)):
            size = self.listed_size_of(number)
            if size is None:
                return None
            total += size
        return total

    def listed_size_of(self, number: int) -> int | None:
        """The size in bytes of one layer, counted from the bottom, as `listed_size` has it."""
        try:
            return self._provider.peek(self._chain_ids[number]).listed_size()
        except (ImgfsError, OSError) as error:
            logger.debug("no size of %s: %s", self._chain_ids[number], describe(error))
            return None

    def _note_size(self, number: int, size: int | None) -> None:
        if size is not None:
            self._sizes[number] = size

    @contextmanager
    def _taken(self, number: int) -> Iterator[Layer]:
        """One layer, given back afterwards. Raises LayerNotFound."""
        layer: Layer | None = self._provider.get(self._chain_ids[number])
        if layer is None:
            raise LayerNotFound(f"no layer with chain ID {self._chain_ids[number]}")
        try:
            yield layer
        finally:
            self._provider.release(layer)

    def _open_or_explain(self, number: int) -> TarBlob:
        try:
            return self.open_one(number)
        except (ImgfsError, OSError) as error:
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


class _HeldTars(Concatenation):
    """Tars end to end; closing it closes them and releases their layers, which is what `held` does."""

    def __init__(self, tars: Sequence[TarBlob], held: ExitStack) -> None:
        super().__init__(tars)
        self._held = held

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
