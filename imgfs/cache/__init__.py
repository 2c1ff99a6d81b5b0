"""The bounded on-disk cache, shared by processes: files by digest and kind that can be made again."""

from imgfs.cache.cache import COPY, Cache, CacheEntry
from imgfs.cache.partial_file import PREFIX, Partial

__all__ = ["COPY", "PREFIX", "Cache", "CacheEntry", "Partial"]
