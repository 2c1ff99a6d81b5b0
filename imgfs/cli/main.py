"""The command `imgfs`: its subcommands, and the one place where errors become a line and an exit status.

Exit status: 0 for success, 1 for an error (one line on standard error), 2 for wrong usage, 3 for a list that is
incomplete because something broken was skipped; as shells do, 130 after Ctrl-C, 141 when the reader of the output has
closed it, 143 after SIGTERM. Where 1 is a result, as with `verify`, an error is 2; as of mount(8), it is 32 of `mount`.
"""

import gc
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import click

from imgfs.cli.color import color_by_default, color_option
from imgfs.cli.messages import ClosedStream, tell
from imgfs.cli.mount_helper import UMOUNT_USAGE, USAGE, mount_arguments, umount_arguments
from imgfs.errors import ImgfsError, describe, is_shortage
from imgfs.logs import log_to_stderr
from imgfs.version import __version__

_SWITCH_SECONDS = (
    0.00005  # before a thread gives up the interpreter; Python's 5 ms let readers wait for scans
)
_NEW_OBJECTS = (
    20_000  # until the garbage collector looks: opening thousands of images makes objects and no garbage
)
_STACK_SIZE = 1 << 20  # of a thread; the default of 8 MiB soon reaches a limit on address space

_NAME = "imgfs"

_COMMANDS = {
    "mount": "mount.mount",
    "umount": "mount.umount",
    "ls": "ls.ls",
    "ps": "ps.ps",
    "tree": "tree.tree",
    "inspect": "inspect.inspect",
    "cat": "files.cat",
    "cp": "files.cp",
    "find": "look.find",
    "locate": "locate.locate",
    "which": "look.which",
    "diff": "look.diff",
    "drift": "drift.drift",
    "timeline": "timeline.timeline",
    "layers": "layers.layers",
    "check": "check.check",
    "export": "export.export",
    "save": "save.save",
    "copy": "copy.copy",
    "load": "own_store.load",
    "import": "own_store.import_",
    "tag": "own_store.tag",
    "rm": "own_store.rm",
    "index": "index.index",
    "verify": "verify.verify",
    "cache": "cache.cache_",
    "doctor": "doctor.doctor",
    "help": "manual.help_",
    "completion": "manual.completion",
}

_ERROR_STATUS = {
    **dict.fromkeys(("find", "locate", "which", "diff", "drift", "check", "verify"), 2),
    **dict.fromkeys(("mount", "umount"), 32),
}
"""The exit status for an error where 1 is a result, and where mount(8) and umount(8) have another."""

_INCORRECT = 1
"""The exit status for wrong usage that mount(8) has."""

_WRITING = ("export", "save", "copy", "cp")
"""Commands that write where a user says."""

_READING = (
    "ls",
    "ps",
    "tree",
    "inspect",
    "cat",
    "find",
    "locate",
    "which",
    "diff",
    "drift",
    "timeline",
    "layers",
    "check",
    "index",
    "verify",
)
"""Commands that write nothing where a user says, so that what may not be opened is a source."""

_OPENING = (*(set(_READING) - {"ps", "drift", "locate"}), *_WRITING, "load", "mount")
"""Commands that take images of registries."""

_OTHERS_CALL_IT = {
    "ls": ("images", "image", "list", "dir"),
    "layers": ("history", "dive", "du"),
    "rm": ("rmi", "remove", "delete", "untag"),
    "cp": ("extract",),
    "copy": ("pull", "push", "skopeo"),
    "export -C": ("unpack", "extract", "create"),
    "umount": ("unmount", "fusermount"),
    "find": ("grep", "search"),
    "locate": ("plocate", "mlocate", "updatedb"),
    "which": ("blame",),
    "doctor": ("info", "system"),
    "import": ("commit", "build"),
    "--version": ("version",),
}
"""What commands of other tools are here."""

_NOT_HERE = {
    "images are not run, only read: docker or podman run them": ("run", "exec", "start", "stop"),
}
"""Commands of other tools that nothing here is like."""


class _Group(click.Group):
    """A group that imports a command's module only when it is run, so that no command waits for imports of others."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if len(args) == 4 and args[2] == "-o" and not args[0].isalnum():
            # as mount.fuse3(8) calls it, for fstab and `mount -t fuse.imgfs`
            args = mount_arguments(args) or args
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            for why, theirs in _NOT_HERE.items():
                if args[0] in theirs:
                    ctx.fail(f"No such command {args[0]!r}; {why}")
            import difflib  # here, as names are seldom wrong

            near = [ours for ours, theirs in _OTHERS_CALL_IT.items() if args[0] in theirs]
            near = near or difflib.get_close_matches(args[0], _COMMANDS, 3)
            if near:
                ctx.fail(f"No such command {args[0]!r}; did you mean {' or '.join(near)}?")
        if args and args[0] in _OPENING:
            from imgfs.cli.reaching import with_values

            args = with_values(args)
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(".")
        command: click.Command = getattr(import_module(f"imgfs.cli.{module}"), name)
        if cmd_name in _OPENING:
            from imgfs.cli.reaching import add_registry_options  # here, as not every command needs it

            add_registry_options(command, is_copy=cmd_name == "copy")
        return command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done, such as each request to a registry.")
@click.option("--debug", is_flag=True, help="Log details, and tracebacks of unexpected errors.")
@color_option
def imgfs(verbose: bool, debug: bool) -> None:
    """Show container images as files, without running, unpacking or saving them.

    \b
    A SOURCE is a place where images are stored:
      imgfs:[PATH]           a store of imgfs (default: $XDG_DATA_HOME/imgfs)
      docker:[ROOT]          images of Docker (default: /var/lib/docker)
      containers-storage:[GRAPHROOT]
                             images of Podman and Buildah
      oci:PATH[:TAG]         an OCI image layout
      oci-archive:FILE       an OCI image layout in a tar
      docker-archive:FILE    an archive of docker save
      containerd:[ROOT][#NAMESPACE]
                             images of containerd (default: /var/lib/containerd)
      PATH                   any of these, recognised by its contents
      docker://HOST/REPO[:TAG|@DIGEST]
                             an image of a registry (see imgfs help registries)

    An IMAGE is a name or an ID, or a SOURCE with one: docker:NAME, oci:PATH:TAG,
    FILE:NAME (see imgfs help images).

    \b
    Examples:
      imgfs ls
      imgfs layers docker:app:1
      imgfs mount docker: containerd: /mnt
    """  # click expects the control character
    log_to_stderr(logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING)
    color_by_default(click.get_current_context())


def main() -> None:
    """Run the command line; never returns."""
    _set_up_process()
    sys.exit(_run(sys.argv[1:]))


def mount_helper() -> None:
    """Run as mount.imgfs, the helper of mount(8); never returns."""
    _run_helper(mount_arguments, USAGE)


def umount_helper() -> None:
    """Run as umount.fuse.imgfs, the helper of umount(8); never returns."""
    _run_helper(umount_arguments, UMOUNT_USAGE)


def _run_helper(meant: Callable[[list[str]], list[str] | None], usage: str) -> NoReturn:
    """Run what `meant` makes of the arguments."""
    _set_up_process()
    if sys.argv[1:] in (["-h"], ["--help"]):
        click.echo(usage)
        sys.exit(0)
    try:
        arguments = meant(sys.argv[1:])
    except click.UsageError as error:
        click.echo(usage, err=True)
        error.show()
        sys.exit(_INCORRECT)
    status = _run(arguments) if arguments else 0
    sys.exit(_INCORRECT if status == click.UsageError.exit_code else status)


def _set_up_process() -> None:
    """Set what holds for the whole process, here and nowhere else (but for a mount's, in `mount.tuning`)."""
    _open_standard_streams()
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(_NEW_OBJECTS)
    threading.stack_size(_STACK_SIZE)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # a limit of the whole machine may be lower by now
        # reading an image opens all its layers
        resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    for stopping in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(stopping) is signal.SIG_DFL:  # not when nohup has it ignored
            signal.signal(stopping, _stop)


def _run(arguments: list[str]) -> int:
    """Run the command line; returns the exit status. Click's own `main` would handle a broken pipe differently."""
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
        # so that the flush at exit does not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (ImgfsError, OSError) as error:
        tell(describe(error) + _hint(error, context))
        for note in getattr(error, "__notes__", ()):
            tell(note)
    except Exception as error:
        logging.getLogger("imgfs").debug("where it happened", exc_info=True)
        internal = f"internal error: {error!r} (imgfs --debug shows where; please report it)"
        tell(describe(error) if is_shortage(error) else internal)
    return _ERROR_STATUS.get(context.invoked_subcommand or "", 1) if context is not None else 1


def _hint(error: Exception, context: click.Context | None) -> str:
    """What an ordinary user can do where something may not be read, in parentheses."""
    if os.geteuid() == 0 or not isinstance(error.__cause__ or error, PermissionError):
        return ""
    command = context.invoked_subcommand if context is not None else None
    # where a command may not write, there is no cause
    if command in _READING or (command in _WRITING and error.__cause__ is not None):
        from imgfs.cli.remedies import remedy  # here, as it is seldom needed

        return remedy(error)
    return " (see imgfs doctor)" if error.__cause__ is not None else ""


def _invoke(context: click.Context) -> int:
    """Run the command; returns its exit status."""
    status = 0
    try:
        imgfs.invoke(context)
    except click.exceptions.Exit as end:
        status = end.exit_code
    sys.stdout.flush()
    return status


def _open_standard_streams() -> None:
    """Open standard streams that the caller closed: the next file opened would take their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, ClosedStream(os.fdopen(os.open(os.devnull, os.O_RDWR), f"{mode}b")))


def _stop(number: int, _: object) -> NoReturn:
    """End as after Ctrl-C, with cleanup."""
    sys.exit(128 + number)
