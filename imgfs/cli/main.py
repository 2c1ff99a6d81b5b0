"""The command `imgfs`: its subcommands, and the one place where errors become a line and an exit status.

Exit status: 0 for success, 1 for an error (one line on standard error), 2 for wrong usage, 3 of a list that is not all
because something is broken, and as shells count them
130 after Ctrl-C, 141 when nobody reads the output any more, 143 after SIGTERM. Where 1 is an answer, as with
`verify`, an error is 2.
"""

import logging
import os
import signal
import sys
import threading
from importlib import import_module
from typing import NoReturn

import click

from imgfs.cli.messages import ClosedStream, tell
from imgfs.errors import ImgfsError, describe, is_shortage
from imgfs.logs import log_to_stderr

# that a thread waits for the interpreter; with Python's 5 ms decoders and requests would wait for a scan of headers
_SWITCH_SECONDS = 0.00005
_STACK_SIZE = 1 << 20  # of a thread; with the usual 8 MiB a limit on address space is soon reached

_NAME = "imgfs"
_COMPLETION = "_IMGFS_COMPLETE"  # set by shells that want to know how words may go on

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
    "verify": "verify.verify",
    "cache": "index.cache_",
    "doctor": "doctor.doctor",
}


_ANSWERING = ("which", "diff", "verify")
"""Commands whose exit status 1 is an answer, so that an error is 2."""


_UNASKED = ("rw", "dev", "suid")
"""Options that mount.fuse3(8) adds of its own accord; asked for, they are refused."""


class _Group(click.Group):
    """Commands that are loaded when they are wanted, so that none waits for what another needs."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if len(args) == 4 and args[2] == "-o" and not args[0].isalnum():
            # as mount.fuse3(8) calls it, for fstab and `mount -t fuse.imgfs`
            *places, option, chosen = args
            kept = ",".join(name for name in chosen.split(",") if name not in _UNASKED)
            args = ["mount", option, kept, "--", *places]
        return super().resolve_command(ctx, args)

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
    _open_standard_streams()
    sys.setswitchinterval(_SWITCH_SECONDS)
    threading.stack_size(_STACK_SIZE)
    for stopping in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(stopping) is signal.SIG_DFL:  # not when nohup has it ignored
            signal.signal(stopping, _stop)
    if _COMPLETION in os.environ:
        imgfs.main(prog_name=_NAME)
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    """The exit status. Not by way of click's main, which takes a broken pipe for itself."""
    context: click.Context | None = None
    try:
        with imgfs.make_context(_NAME, arguments) as context:
            return _invoke(context)
    except click.exceptions.Exit as end:  # of --help and --version
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit is quiet
        return 128 + signal.SIGPIPE
    except (ImgfsError, OSError) as error:
        tell(describe(error))
    except Exception as error:
        logging.getLogger("imgfs").debug("where it happened", exc_info=True)
        internal = f"internal error: {error!r} (imgfs --debug shows where; please report it)"
        tell(describe(error) if is_shortage(error) else internal)
    return 2 if context is not None and context.invoked_subcommand in _ANSWERING else 1


def _invoke(context: click.Context) -> int:
    """Run the command; what it exits with."""
    status = 0
    try:
        imgfs.invoke(context)
    except click.exceptions.Exit as end:
        status = end.exit_code
    sys.stdout.flush()
    return status


def _open_standard_streams() -> None:
    """Open those that whoever called has closed: the next file opened would be taken for one of them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, ClosedStream(os.fdopen(os.open(os.devnull, os.O_RDWR), f"{mode}b")))


def _stop(number: int, _: object) -> NoReturn:
    """End as Ctrl-C does, with everything that is half done cleaned up."""
    sys.exit(128 + number)
