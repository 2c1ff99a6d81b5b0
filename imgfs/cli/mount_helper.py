"""`mount.imgfs`, as which mount(8) calls imgfs for `mount -t imgfs` and for fstab, and `umount.fuse.imgfs`.

Format: mount(8), EXTERNAL HELPERS: `mount.TYPE SOURCE DIRECTORY [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`.
SOURCE may be several with commas in between, as the table of mounts shows them. umount(8), EXTERNAL HELPERS:
`umount.TYPE DIRECTORY [-flnrv] [-N NAMESPACE] [-t TYPE]`.
"""

import getopt
import os
import re

import click

_UNREQUESTED = ("rw", "dev", "suid")
"""Options that mount(8) and mount.fuse3(8) add unasked. A user who asks for them gets an error."""

USAGE = "Usage: mount.imgfs SOURCE MOUNTPOINT [-sfnv] [-o OPTIONS]"
UMOUNT_USAGE = "Usage: umount.fuse.imgfs MOUNTPOINT [-flnrv]"


def mount_arguments(arguments: list[str]) -> list[str] | None:
    """The arguments of imgfs that do what a helper is called for; None if that is nothing, as with `-f` (fake).

    Raises click.UsageError.
    """
    flags, places = _parsed(arguments, "sfnvN:o:t:")
    if len(places) != 2:
        raise click.UsageError("a SOURCE and a MOUNTPOINT are needed")
    given = dict(flags)
    options = [option for flag, value in flags if flag == "-o" for option in value.split(",")]
    kept = ",".join(option for option in options if option not in _UNREQUESTED)
    source, mountpoint = places
    return None if "-f" in given else ["mount", "-o", kept, "--", *_sources(source), mountpoint]


def umount_arguments(arguments: list[str]) -> list[str]:
    """The arguments of imgfs that do what umount(8) calls a helper for. Raises click.UsageError."""
    flags, places = _parsed(arguments, "flnrvN:t:")
    if len(places) != 1:
        raise click.UsageError("a MOUNTPOINT is needed")
    return ["umount", *(["-l"] if "-l" in dict(flags) else []), "--", *places]


def _parsed(arguments: list[str], known: str) -> tuple[list[tuple[str, str]], list[str]]:
    try:
        flags, places = getopt.gnu_getopt(arguments, known)
    except getopt.GetoptError as error:
        raise click.UsageError(str(error)) from None
    if "-N" in dict(flags):
        raise click.UsageError("mounting in another namespace is not possible")
    return flags, places


def _sources(text: str) -> list[str]:
    return [text] if os.path.lexists(text) else re.split(",(?=/|[a-z-]+:)", text)
