"""`imgfs doctor`: which image stores can be read on this machine, whether mounting works, and what to do if not."""

import logging
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from imgfs.cli.color import bad, color_option, good, notable
from imgfs.cli.json_output import json_lines_option, print_json_line
from imgfs.cli.messages import utf8
from imgfs.cli.opening import cache, indexing
from imgfs.cli.remedies import CONTAINER, INSTALL, FuseUnavailable, check_fuse, mount_as_root, unshared
from imgfs.cli.table import wrapped
from imgfs.errors import ImgfsError, describe, printable
from imgfs.layers import Indexer
from imgfs.sizes import human_size
from imgfs.sources import default_sources, has_no_place, open_source
from imgfs.sources.open_union import is_absence
from imgfs.sources.own.store import default_path
from imgfs.sources.union import Union
from imgfs.view import RootDirectory, ViewOptions

_FUSE_CONF = "/etc/fuse.conf"


@click.command(short_help="Check what imgfs can read, and whether mounting works.")
@json_lines_option
@color_option
def doctor(as_json: bool) -> None:
    """Report which image stores imgfs can read on this machine, whether mounting works, and what to do if not.

    Exit status 1 if mounting does not work.

    \b
    Example:
      imgfs doctor
    """
    report = _Report(as_json)
    with _quiet():
        report.begin("Images")
        with indexing() as indexer:
            for reference in default_sources():
                state, *details = _look_at(reference, indexer)
                # of stores that a user may have besides, only those that are there
                if state != "none" or has_no_place(reference):
                    report.line(state, *details)
        report.begin("Mounting")
        works = _check_mounting(report)
        report.begin("Cache")
        _check_cache(report)
    click.get_current_context().exit(not works)


def _look_at(reference: str, indexer: Indexer) -> Sequence[str]:
    """The state of a source at its default place, the details, and what to do."""
    # given without a path, our own store would be created
    named = f"imgfs:{default_path()}" if reference == "imgfs:" else reference
    try:
        source = open_source(named, indexer)
    except (ImgfsError, OSError) as error:
        if is_absence(error):
            return "none", f"{reference} {describe(error)}"
        denied = isinstance(error, PermissionError) and os.geteuid() != 0
        hints = ["as root: " + mount_as_root([reference])] if denied else []
        return "FAILS", f"{reference} cannot be read: {describe(error)}", *hints
    count, problems = len(source.store), len(source.problems)
    elsewhere = [folder for folder in source.folders if not source.reference.endswith(folder)]
    also = f", in {', '.join(elsewhere)}" if elsewhere else ""
    source.close()
    broken = f", {problems} problems (see imgfs verify {reference})" if problems else ""
    is_rootless = reference == "containers-storage:" and count and os.geteuid() != 0
    hints = (
        ["with the files that this user cannot read:", unshared(["mount", reference, "DIR"])]
        if is_rootless
        else []
    )
    return "ok", f"{source.reference}: {count} image{'s' * (count != 1)}{also}{broken}", *hints


def _check_mounting(report: "_Report") -> bool:
    """Whether mounting works, tried."""
    try:
        check_fuse()
        _mount_nothing()
    except ImportError as error:
        report.line("FAILS", f"pyfuse3 cannot be loaded: {error}", f"install it: {INSTALL}")
        return False
    except FuseUnavailable as error:
        report.line("FAILS", error.problem, *error.remedy.split("; "))
        return False
    except (ImgfsError, OSError) as error:
        report.line("FAILS", describe(error), CONTAINER)
        return False
    report.line("ok", "an empty file system was mounted and unmounted")
    if os.geteuid() != 0 and not _others_allowed():
        report.line("note", f"-o allow_other needs the line user_allow_other in {_FUSE_CONF}")
    return True


def _mount_nothing() -> None:
    """Mount an empty tree and unmount it. Raises MountError, OSError, or ImportError without libfuse."""
    from imgfs.mount import parse_options, serve  # here, as libfuse may be missing

    folder = tempfile.mkdtemp(prefix="imgfs-doctor-")
    try:
        root = RootDirectory(Union([]), ViewOptions())
        serve(root, folder, parse_options(""), ready=lambda: os.kill(os.getpid(), signal.SIGTERM))
    finally:
        os.rmdir(folder)


def _others_allowed() -> bool:
    try:
        with open(_FUSE_CONF) as file:
            return any(line.strip() == "user_allow_other" for line in file)
    except OSError:
        return False


def _check_cache(report: "_Report") -> None:
    kept = cache()
    entries = kept.entries()
    size = f"{human_size(sum(entry.size for entry in entries))} in {len(entries)} files"
    partial = kept.begin()
    if partial is None:
        report.line(
            "FAILS",
            f"{kept.folder}: cannot be written",
            "imgfs works without a cache, but decodes layers repeatedly",
        )
        return
    partial.close()
    report.line("ok", f"{kept.folder}: {size}, at most {human_size(kept.limit)}")


class _Report:
    """Prints what was checked, in parts, each result with what to do."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._part = ""

    def begin(self, part: str) -> None:
        self._part = part
        if not self._as_json:
            click.echo(part)

    def line(self, state: str, text: str, *hints: str) -> None:
        if self._as_json:
            found = {"part": self._part.lower(), "state": state.lower(), "text": utf8(text), "hints": hints}
            print_json_line(found)
            return
        color = {"ok": good, "FAILS": bad, "note": notable}.get(state, str)
        # what is to be copied, in hints, is never broken
        lines = wrapped(printable(text), before=9)
        click.echo(f"  {color(state)}{' ' * (6 - len(state))} {lines[0]}")
        for hint in (*lines[1:], *hints):
            click.echo(f"         {hint}")


@contextmanager
def _quiet() -> Iterator[None]:
    """No log messages meanwhile: problems are part of the report."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
