"""`imgfs locate`: one question to every image of the machine.

What opens stores and reads layers is imported only where something has changed, as that takes longer than a search.
"""

import errno
import logging
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

import click

from imgfs.cli.cache_options import cache, cache_size_option
from imgfs.cli.json_output import file_type, json_lines_option, path_fields, print_json_line
from imgfs.cli.locate_options import (
    KindTest,
    parse_days,
    parse_group,
    parse_newer,
    parse_perm,
    parse_sha256,
    parse_size_range,
    parse_type,
    parse_user,
    query_of,
    taken,
)
from imgfs.cli.messages import shown, tell, utf8
from imgfs.cli.source_options import source_option, store_option
from imgfs.cli.table import no_trunc_option, wrapped
from imgfs.locate.answer import Hit, answer
from imgfs.locate.catalog import Catalog
from imgfs.locate.machine import Machine, Root, keep_machine, key_of, load_machine
from imgfs.locate.search import Range
from imgfs.locate.slow_match import limited

logger = logging.getLogger("imgfs")

_SHORT = 12  # digits of an ID, as docker prints them
_INDENT = 16  # columns before the names of images
_MOST_LINES = 3  # of names on a terminal


@click.command(short_help="Find files in all images of this machine.")
@click.argument("pattern", required=False)
@click.option("-b", "--basename", is_flag=True, help="Match only the name, not the whole path.")
@click.option("-i", "--ignore-case", is_flag=True, help="Do not distinguish small and capital letters.")
@click.option(
    "-r", "--regex", "--regexp", "regex", is_flag=True, help="PATTERN is a regular expression, as of Python."
)
@click.option(
    "--type",
    "kind",
    callback=taken(parse_type),
    metavar="C[,C]...",
    help="Only files (f), directories (d), links (l)…",
)
@click.option(
    "--perm",
    callback=taken(parse_perm),
    metavar="[-/]MODE",
    help="Only with these permissions, as of find(1).",
)
@click.option(
    "--user", "--uid", "uid", callback=taken(parse_user), metavar="USER", help="Only what USER owns."
)
@click.option(
    "--group", "--gid", "gid", callback=taken(parse_group), metavar="GROUP", help="Only what GROUP owns."
)
@click.option("--capability", is_flag=True, help="Only what has file capabilities.")
@click.option(
    "--size",
    callback=taken(parse_size_range),
    metavar="[+-]N[ckMG]",
    help="Only files of this size, as of find(1).",
)
@click.option(
    "--mtime", callback=taken(parse_days), metavar="[+-]DAYS", help="Only what was modified so long ago."
)
@click.option(
    "--newer", callback=taken(parse_newer), metavar="TIME", help="Only what was modified after TIME."
)
@click.option(
    "--sha256", "digest", callback=taken(parse_sha256), metavar="HEX", help="Only files with this content."
)
@click.option("--deleted", is_flag=True, help="Also find what later layers delete or replace.")
@click.option("-l", "-n", "--limit", type=click.IntRange(1), metavar="N", help="Stop after N results.")
@click.option("-c", "--count", is_flag=True, help="Print only the number of results.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the paths, each once but for very many.")
@click.option(
    "-0", "--null", "null", is_flag=True, help="Print only the paths, each ended by NUL, for xargs -0."
)
@no_trunc_option
@json_lines_option
@source_option
@store_option
@cache_size_option
def locate(
    pattern: str | None,
    basename: bool,
    ignore_case: bool,
    regex: bool,
    kind: KindTest | None,
    perm: KindTest | None,
    uid: KindTest | None,
    gid: KindTest | None,
    capability: bool,
    size: Range | None,
    mtime: Range | None,
    newer: Range | None,
    digest: bytes | None,
    deleted: bool,
    limit: int | None,
    count: bool,
    quiet: bool,
    null: bool,
    no_trunc: bool,
    as_json: bool,
    sources: tuple[str, ...],
    store: str | None,
) -> None:
    """Print what matches PATTERN in any image of any store of this machine: its path, the layers that have it, and the
    images in which it is seen, with the containers made of them.

    A PATTERN without wildcards is looked for in whole paths. One with wildcards is as of imgfs find: it is matched
    against names, or if it has a slash, against whole paths. Options that say what to look for have to be true all,
    and may stand without a PATTERN.

    Layers are indexed once, when they are first seen; imgfs index does that ahead of time. The contents of files are
    read for --sha256, once. Containers are printed by their images: what a container itself has added, changed or
    deleted is not looked into, as it may change at any time (imgfs find looks into one). Exit status 1 if nothing is
    found, 2 for an error, also if comparing PATTERN with one path takes more than some seconds, as it may for a regular
    expression such as (a+)+$, and 3 if something broken was skipped.

    \b
    Examples:
      imgfs locate 'log4j-core-*.jar'
      imgfs locate --type f --perm /6000
      imgfs locate -q --deleted 'id_rsa*'
      imgfs locate --user 1000 --size +10M
    """
    query = query_of(
        pattern,
        basename=basename,
        ignore_case=ignore_case,
        regex=regex,
        kinds=[kind, perm, uid, gid],
        capability=capability,
        size=size,
        times=[mtime, newer],
        digest=digest,
    )
    machine, catalog = _looked(sources, store, with_digests=digest is not None)
    printed = _Printed(
        count=count, quiet=quiet, null=null, as_json=as_json, deleted=deleted, cut=not no_trunc
    )
    with ExitStack() as stack:
        if query.pattern is not None:
            query = replace(query, pattern=stack.enter_context(limited(query.pattern, pattern or "")))
        hits: Iterable[Hit] = answer(query, machine, catalog, deleted=deleted, by_layer=as_json)
        found = printed.print(islice(hits, limit))
    click.get_current_context().exit(3 if machine.has_problems else int(not found))


def _looked(sources: Sequence[str], store: str | None, *, with_digests: bool) -> tuple[Machine, Catalog]:
    """What images there are now, and their layers, all of them indexed."""
    kept, key = cache(), key_of(sources, store)
    machine = load_machine(kept, key)
    known = {} if machine is None else machine.known
    if machine is not None and machine.is_current:
        catalog = Catalog(kept.of(machine.writers), known)
        if _has_all(catalog, machine, with_digests=with_digests):
            for note in machine.notes:
                logger.warning("%s", note)
            if catalog.stamps != known:
                machine.known = catalog.stamps
                keep_machine(kept, key, machine)
            return machine, catalog
    from imgfs.cli.bars import command_bars
    from imgfs.cli.opening import opened
    from imgfs.locate.survey import Survey
    from imgfs.sources import default_sources

    references = list(sources) or ([f"imgfs:{os.path.abspath(store)}"] if store else default_sources())
    with _noting() as notes, opened(sources, store) as union:
        absent = [reference for reference in references if reference not in union.named]
        may_come_back = any(_is_passing(note, absent) for note in notes)
        catalog = Catalog(kept.of(union.writers), known)
        survey = Survey(union, catalog, command_bars(), tell)
        machine, is_lasting = survey.machine(
            references, absent, is_everything=not (sources or store), with_digests=with_digests
        )
        machine.notes = notes
    if is_lasting and not may_come_back:
        keep_machine(kept, key, machine)
    return machine, catalog


def _has_all(catalog: Catalog, machine: Machine, *, with_digests: bool) -> bool:
    """Whether all layers are indexed, with the digests of contents if they are needed."""
    layers = catalog.layers()
    found = [layers.get(key) for key in machine.layers]
    return all(layer is not None and (layer.place.has_digests or not with_digests) for layer in found)


def _is_passing(note: str, absent: Sequence[str]) -> bool:
    """Whether a warning is of one of some stores that could not be opened, for a reason that no stamp shows."""
    schemes = (reference.partition(":")[0] for reference in absent)
    is_of_one = any(note.startswith(f"skipping {scheme}:") for scheme in schemes)
    return is_of_one and os.strerror(errno.EACCES) not in note


@contextmanager
def _noting() -> Iterator[list[str]]:
    """Collects the warnings that are logged."""
    notes: list[str] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(record.getMessage())

    handler = Noting(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield notes
    finally:
        logger.removeHandler(handler)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Printed:
    """How results are printed; `cut` if long lists of names are cut on a terminal."""

    count: bool
    quiet: bool
    null: bool
    as_json: bool
    deleted: bool
    cut: bool

    def print(self, hits: Iterable[Hit]) -> int:
        """Print what was found; returns how much."""
        number, before = 0, None
        for hit in hits:
            number += 1
            if not self.count:
                self._print_one(hit, is_other=hit.path != before)
            before = hit.path
        if self.count:
            click.echo(number)
        return number

    def _print_one(self, hit: Hit, *, is_other: bool) -> None:
        """Print one; `is_other` if its path is not that of the one before."""
        path = os.fsdecode(b"/" + hit.path)
        if self.as_json:
            print_json_line(_fields(hit, path, deleted=self.deleted))
            sys.stdout.flush()  # the next may take long to be found
            return
        if is_other and self.null:
            sys.stdout.buffer.write(os.fsencode(path) + b"\0")
        elif is_other:
            click.echo(shown(path))
        if not self.null and not self.quiet:
            click.echo("\n".join(_lines(hit, cut=self.cut)))


def _lines(hit: Hit, *, cut: bool) -> Iterator[str]:
    """The layer of what was found and its images, and its containers; then those in which it is hidden."""
    heads = [hit.diff_id.partition(":")[2][:_SHORT], "  containers", "  deleted in", "  containers"]
    for number, head in enumerate(heads):
        roots = hit.hidden_in if number > 1 else hit.seen_in
        names = [
            shown(name) for root in roots if root.is_container == bool(number % 2) for name in _names(root)
        ]
        if names or not number:
            yield from _filled(f"  {head}", names or ["-"], cut=cut)


def _filled(head: str, names: Sequence[str], *, cut: bool) -> Iterator[str]:
    """Names in lines that fit the terminal, cut after a few."""
    lines = wrapped(", ".join(names), before=_INDENT)
    if cut and len(lines) > _MOST_LINES:
        left = len(names) - sum(line.count(", ") + line.endswith(",") for line in lines[:_MOST_LINES])
        lines = [*lines[:_MOST_LINES], f"and {left} more (--no-trunc)"]
    for number, line in enumerate(lines):
        yield f"{'' if number else head:<{_INDENT}}{line}"


def _names(root: Root) -> Sequence[str]:
    return root.names or [root.id.removeprefix("sha256:")[:_SHORT]]


def _fields(hit: Hit, path: str, *, deleted: bool) -> dict[str, object]:
    columns, entry = hit.columns, hit.entry
    kind, digest = columns.kind(entry), columns.digest(entry)
    is_link = stat.S_ISLNK(kind.mode)
    return {
        **path_fields(path),
        "type": file_type(kind.mode),
        "mode": f"{stat.S_IMODE(kind.mode):04o}",
        "uid": kind.uid,
        "gid": kind.gid,
        "size": columns.sizes[entry],
        **({"target": utf8(os.fsdecode(columns.target(entry)))} if is_link else {}),
        "modified": datetime.fromtimestamp(columns.mtimes[entry] // 10**9, UTC).isoformat(),
        **({"sha256": digest.hex()} if digest is not None else {}),
        "diff_id": hit.diff_id,
        **_root_fields(hit.seen_in, ""),
        **(_root_fields(hit.hidden_in, "deleted_") if deleted else {}),
    }


def _root_fields(roots: Sequence[Root], prefix: str) -> dict[str, object]:
    names = [
        [utf8(name) for root in roots if root.is_container == wanted for name in _names(root)]
        for wanted in (False, True)
    ]
    return {f"{prefix}images": names[0], f"{prefix}containers": names[1]}
