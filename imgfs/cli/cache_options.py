"""The cache of a command and its option; imported without what opens stores, as that takes long.

Tried by the tests of the commands that have it.
"""

import click

from imgfs.cache import DEFAULT_LIMIT, Cache, default_folder
from imgfs.sizes import parse_size

_CACHE_SIZE, _CACHE = "imgfs.cache_size", "imgfs.cache"


def _take_cache_size(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        try:
            context.meta[_CACHE_SIZE] = parse_size(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None


cache_size_option = click.option(
    "--cache-size",
    metavar="SIZE",
    envvar="IMGFS_CACHE_SIZE",
    expose_value=False,
    callback=_take_cache_size,
    help="Limit the disk space that the cache takes (default: 8G).",
)


def cache() -> Cache:
    """The cache of this command, `$XDG_CACHE_HOME/imgfs`; the same object at each call."""
    meta = click.get_current_context().meta
    if _CACHE not in meta:
        limit = meta.get(_CACHE_SIZE, DEFAULT_LIMIT)
        meta[_CACHE] = Cache(default_folder(), limit)
    found: Cache = meta[_CACHE]
    return found
