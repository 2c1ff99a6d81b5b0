"""The bounded on-disk cache, shared by processes: files by digest and kind that can be made again."""

from imgfs.cache.cache import COPY, DEFAULT_LIMIT, Cache, CacheEntry, default_folder
from imgfs.cache.partial_file import PREFIX, Partial

__all__ = ["COPY", "DEFAULT_LIMIT", "PREFIX", "Cache", "CacheEntry", "Partial", "default_folder"]
