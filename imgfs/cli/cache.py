"""`imgfs cache`: what is kept of layers and images, and removing it."""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click

from imgfs.cache import Cache, CacheEntry
from imgfs.cache.partial_file import PREFIX
from imgfs.cli.json_output import json_option, print_json
from imgfs.cli.known_names import NAMES
from imgfs.cli.opening import cache, cache_size_option, opening
from imgfs.cli.table import print_table
from imgfs.codec.span_cache import KIND as SPAN
from imgfs.errors import Corrupt, StoreError, printable
from imgfs.layers import chain_ids
from imgfs.layers.index_file import IndexHeader, read_header
from imgfs.locate.catalog import KIND as LOCATE
from imgfs.locate.machine import KIND as MACHINE
from imgfs.sizes import human_size
from imgfs.sources import default_sources
from imgfs.sources.lookup import open_sources

_LAYER_TREE, _IMAGE_TREE = "layer-tree", "tree"
_NAME = re.compile(r"(sha\d+)-([0-9a-f]+)(?:\..*)?\.([a-z-]+)")


@click.group("cache", short_help="Manage the cache.")
def cache_() -> None:
    """Manage the cache, which keeps indexes of layers, merged trees, and decoded copies of layers.

    \b
    Examples:
      imgfs cache ls
      imgfs cache prune --cache-size 1G
    """


@cache_.command("ls", short_help="List what the cache keeps.")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--no-trunc", is_flag=True, help="Print the names of files instead, in whole.")
@json_option
def cache_ls(sources: tuple[str, ...], no_trunc: bool, as_json: bool) -> None:
    """List what the cache keeps, the least recently used first: of which layer, and of which image that is.

    Images are looked up in the stores of this machine, and in each SOURCE. The parts of layers that were fetched from
    registries are on one line.

    \b
    Examples:
      imgfs cache ls
      imgfs cache ls oci-archive:app.tar
    """
    entries = cache().entries()
    if as_json:
        print_json([_fields(entry) for entry in entries])
        return
    images = _Images() if no_trunc or not entries else _known_images(sources)
    headers = {} if no_trunc else _headers(cache(), entries)
    lines = [["SIZE", "LAST USED", *(["FILE"] if no_trunc else ["KEPT", "ID", "IMAGE"])]]
    spans = [] if no_trunc else [entry for entry in entries if entry.name.endswith(f".{SPAN}")]
    for entry in entries:
        size, kept = entry.size, [entry.name] if no_trunc else _described(entry, headers, images)
        if spans and entry is spans[-1]:
            # thousands, each a part of any number of layers, so one line is for all
            size = sum(span.size for span in spans)
            kept = [SPAN, "", f"{len(spans)} part{'s' * (len(spans) != 1)} of layers in registries"]
        elif entry.name.endswith(f".{SPAN}") and spans:
            continue
        used = datetime.datetime.fromtimestamp(entry.used).astimezone()
        lines.append([human_size(size), f"{used:%Y-%m-%d %H:%M %Z}", *kept])
    if entries:
        print_table(lines, right=["SIZE"], cut=None if no_trunc else "IMAGE")
    total = sum(entry.size for entry in entries)
    click.echo(f"{human_size(total)} in {len(entries)} file{'s' * (len(entries) != 1)}")


@cache_.command("prune", short_help="Remove the least recently used files.")
@cache_size_option
def cache_prune() -> None:
    """Remove the least recently used files until the cache takes no more than --cache-size.

    \b
    Example:
      imgfs cache prune --cache-size 1G
    """
    _report(cache().prune())


@cache_.command("clear", short_help="Remove all files.")
def cache_clear() -> None:
    """Remove all files except those being written.

    Exit status 1 if the cache cannot be used or a file removed.

    \b
    Example:
      imgfs cache clear
    """
    _report(cache().prune(0))
    is_left = any(not entry.name.startswith(PREFIX) for entry in cache().entries())
    click.get_current_context().exit(cache().is_refused or is_left)


def _report(removed: Sequence[CacheEntry]) -> None:
    count, size = len(removed), human_size(sum(entry.size for entry in removed))
    click.echo(f"Removed {count} file{'s' * (count != 1)}, {size}")


@dataclass(frozen=True, slots=True)
class _Images:
    """What is known of the images that have a layer, by its diff ID, or a stack of layers, by its chain ID."""

    by_layer: dict[str, list[str]] = field(default_factory=dict)
    by_stack: dict[str, list[str]] = field(default_factory=dict)


def _known_images(sources: Sequence[str]) -> _Images:
    found = _Images()
    with open_sources(sources, opening(), also=default_sources(), unreadable=[]) as union:
        snapshot = union.snapshot
        for image_id, image in snapshot.images.items():
            name = printable(next(iter(snapshot.tags_of(image_id)), image_id.short))
            count = len(image.diff_ids)
            for number, diff_id in enumerate(image.diff_ids, 1):
                found.by_layer.setdefault(diff_id, []).append(f"layer {number} of {count} of {name}")
            for number, chain_id in enumerate(chain_ids(image.diff_ids), 1):
                part = "" if number == count else f"lowest {number} layers of "
                found.by_stack.setdefault(chain_id, []).append(part + name)
    return found


def _headers(kept: Cache, entries: Sequence[CacheEntry]) -> Mapping[str, IndexHeader]:
    """The headers of indexes, by the part of the name that a copy of what is indexed has too."""
    found = {}
    for entry in entries:
        stem, _, kind = entry.name.rpartition(".")
        file = kept.look_at(entry.name) if kind == "index" else None
        if file is not None:
            try:
                with file:
                    found[stem] = read_header(file)
            except (Corrupt, StoreError, OSError):
                continue  # it is made again when it is used
    return found


def _fields(entry: CacheEntry) -> dict[str, object]:
    """A file as `--json` prints it; `digest` is that of the layer, the stack of layers or the blob that it is of."""
    match = _NAME.fullmatch(entry.name)
    used = datetime.datetime.fromtimestamp(int(entry.used), datetime.UTC).isoformat()
    digest = f"{match[1]}:{match[2]}" if match else None
    kind = match[3] if match else None
    return {"file": entry.name, "type": kind, "digest": digest, "size": entry.size, "used": used}


def _described(entry: CacheEntry, headers: Mapping[str, IndexHeader], images: _Images) -> list[str]:
    """What an entry is, the short ID of the layer or stack of layers, and which image it belongs to."""
    match = _NAME.fullmatch(entry.name)
    if match is None:
        return ["being written", "", ""]
    kind, digest = match[3], f"{match[1]}:{match[2]}"
    if kind == NAMES:
        return [kind, "", "for completion in shells"]
    if kind in (LOCATE, MACHINE):
        return [kind, "", "for imgfs locate"]
    header = headers.get(entry.name.rpartition(".")[0]) if kind in ("index", "copy") else None
    if header is not None:
        if header.archive:
            return [kind, "archive", header.archive]
        digest = header.diff_id
    of = (images.by_stack if kind == _IMAGE_TREE else images.by_layer).get(digest, ["-"])
    more = f" and {len(of) - 1} more" if len(of) > 1 else ""
    what = _IMAGE_TREE if kind == _LAYER_TREE else kind
    return [what, digest.partition(":")[2][:12], of[0] + more]
