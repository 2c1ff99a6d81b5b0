"""Trees merged once: those that are worth it are found in the cache the next time."""

import ctypes
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress

from imgfs.errors import Corrupt, InvalidImage
from imgfs.layers import Cache
from imgfs.store import LayerStack
from imgfs.tar import Member, Tree, dump_tree, load_tree, merge_layers

logger = logging.getLogger("imgfs")

_WORTH_IT = 1000  # entries; fewer are merged in a few milliseconds


class TreeCache:
    """Makes trees, and keeps them in `cache` if there is one. Safe to use from several threads."""

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache

    def tree(self, layers: LayerStack, only: int | None, name: str) -> Tree:
        """The merged tree of some layers, or that of one of them alone, with whiteouts as files.

        `name` is what to call it in the log and in errors. Raises what reading the layers raises, and InvalidImage
        naming the tree and the layer if it is beyond a limit.
        """
        numbers = range(len(layers.chain_ids)) if only is None else range(only, only + 1)
        found = self._find(layers, only, name) if numbers else None
        if found is not None:
            return found
        tree = _merge(layers, numbers, name, raw=only is not None)
        if self._cache is not None and len(tree) >= _WORTH_IT and all(map(layers.is_verified, numbers)):
            data = dump_tree(tree)
            self._cache.keep(layers.chain_ids[numbers[-1]], _kind(only), lambda file: file.write(data))
            del data
        if len(tree) >= _WORTH_IT:
            _give_memory_back()
        return tree

    def _find(self, layers: LayerStack, only: int | None, name: str) -> Tree | None:
        if self._cache is None:
            return None
        digest = layers.chain_ids[-1 if only is None else only]
        file = self._cache.open(digest, _kind(only))
        if file is None:
            return None
        try:
            with file:
                return load_tree(file)
        except Corrupt as error:
            logger.info("%s is merged anew: %s", name, error)
            self._cache.discard(digest, _kind(only))
            return None


def _merge(layers: LayerStack, numbers: range, name: str, *, raw: bool) -> Tree:
    reached = numbers.start

    def members() -> Iterator[Iterable[Member]]:
        nonlocal reached
        for reached in numbers:
            yield layers.members_of(reached)

    try:
        return merge_layers(members(), name, raw=raw)
    except InvalidImage as error:
        where = f"layer {layers.diff_ids[reached]}"
        text = str(error) if where in str(error) else f"{where}: {error}"
        raise type(error)(f"{name}: {text}") from error


def _give_memory_back() -> None:
    """Return what merging took to the system; glibc would keep more of it than the tree takes, for this thread."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _kind(only: int | None) -> str:
    return "tree" if only is None else "layer-tree"
