"""The command `imgfs`: its subcommands, and the one place where errors become a line and an exit status.

Exit status: 0 for success, 1 for an error (one line on standard error), 2 for wrong usage, 130 after Ctrl-C.
"""

import logging
import os
import sys
from importlib import import_module

import click

from imgfs.errors import ImgfsError, describe, printable
from imgfs.logs import log_to_stderr

# that a thread waits for the interpreter; with Python's 5 ms decoders and requests would wait for a scan of headers
_SWITCH_SECONDS = 0.00005

_COMMANDS = {
    "mount": "mount.mount",
    "umount": "mount.umount",
    "ls": "images.ls",
    "tree": "images.tree",
    "inspect": "inspect.inspect",
    "find": "look.find",
    "which": "look.which",
    "diff": "look.diff",
    "export": "export.export",
    "load": "load.load",
    "import": "load.import_",
    "tag": "names.tag",
    "rm": "names.rm",
    "index": "index.index",
    "verify": "index.verify",
    "cache": "index.cache_",
    "doctor": "doctor.doctor",
}


class _Group(click.Group):
    """Commands that are loaded when they are wanted, so that none waits for what another needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(".")
        command: click.Command = getattr(import_module(f"imgfs.cli.{module}"), name)
        return command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(None, "-V", "--version", package_name="imgfs", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Log more, and show where an unexpected error comes from.")
def imgfs(debug: bool) -> None:
    """See into container images as files, without running, unpacking or saving them.

    \b
    A SOURCE is a place that images come from:
      imgfs:[PATH]           a store of imgfs (default: $XDG_DATA_HOME/imgfs)
      docker:[ROOT]          Docker's images (default: /var/lib/docker)
      containers-storage:[GRAPHROOT]
                             those of podman and buildah
      oci:PATH[:TAG]         an OCI image layout
      oci-archive:FILE       one in a tar
      docker-archive:FILE    what docker save writes
      containerd:[ROOT][#NAMESPACE]
                             containerd's images (default: /var/lib/containerd)
      PATH                   any of these, recognised by what lies there
    """  # click reads the character, not the escape
    log_to_stderr(logging.DEBUG if debug else logging.WARNING)


def main() -> None:
    """Run the command line; never returns."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        status = int(imgfs.main(prog_name="imgfs", standalone_mode=False) or 0)  # what a command exits with
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit is quiet
        status = 1
    except (ImgfsError, OSError) as error:
        status = _fail(describe(error))
    except Exception as error:
        logging.getLogger("imgfs").debug("where it happened", exc_info=True)
        status = _fail(f"internal error: {error!r} (imgfs --debug shows where; please report it)")
    sys.exit(status)


def _fail(message: str) -> int:
    click.echo(f"imgfs: {printable(message)}", err=True)
    return 1
