"""`mount.imgfs`: how mount(8) calls imgfs, for `mount -t imgfs` and for fstab.

Format: mount(8), EXTERNAL HELPERS: `mount.TYPE SOURCE DIRECTORY [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`.
SOURCE may be several with commas in between, as the table of mounts shows them.
"""

import getopt
import os
import re

import click

_UNREQUESTED = ("rw", "dev", "suid")
"""Options that mount(8) and mount.fuse3(8) add unasked. A user who asks for them gets an error."""

USAGE = "Usage: mount.imgfs SOURCE MOUNTPOINT [-sfnv] [-o OPTIONS]"


def mount_arguments(arguments: list[str]) -> list[str] | None:
    """The arguments of imgfs that do what a helper is called for; None if that is nothing, as with `-f` (fake).

    Raises click.UsageError.
    """
    try:
        flags, places = getopt.gnu_getopt(arguments, "sfnvN:o:t:")
    except getopt.GetoptError as error:
        raise click.UsageError(str(error)) from None
    if len(places) != 2:
        raise click.UsageError("a SOURCE and a MOUNTPOINT are needed")
    given = dict(flags)
    if "-N" in given:
        raise click.UsageError("mounting in another namespace is not possible")
    options = [option for flag, value in flags if flag == "-o" for option in value.split(",")]
    kept = ",".join(option for option in options if option not in _UNREQUESTED)
    source, mountpoint = places
    return None if "-f" in given else ["mount", "-o", kept, "--", *_sources(source), mountpoint]


def _sources(text: str) -> list[str]:
    return [text] if os.path.lexists(text) else re.split(",(?=/|[a-z-]+:)", text)
