"""Trees merged once: those that are worth it are found in the cache the next time."""

import ctypes
import logging
from contextlib import suppress

from imgfs.errors import Corrupt
from imgfs.layers import Cache
from imgfs.store import LayerStack
from imgfs.tar import Tree, dump_tree, load_tree, merge_layers

logger = logging.getLogger("imgfs")

_WORTH_IT = 1000  # entries; fewer are merged in a few milliseconds


class TreeCache:
    """Makes trees, and keeps them in `cache` if there is one. Safe to use from several threads."""

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache

    def tree(self, layers: LayerStack, only: int | None, name: str) -> Tree:
        """The merged tree of some layers, or that of one of them alone, with whiteouts as files.

        `name` is what to call it in the log. Raises what reading the layers raises.
        """
        numbers = range(len(layers.chain_ids)) if only is None else range(only, only + 1)
        found = self._find(layers, only, name) if numbers else None
        if found is not None:
            return found
        members = (layers.members_of(number) for number in numbers)
        tree = merge_layers(members, name, raw=only is not None)
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


def _give_memory_back() -> None:
    """Return what merging took to the system; glibc would keep more of it than the tree takes, for this thread."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _kind(only: int | None) -> str:
    return "tree" if only is None else "layer-tree"
