"""`imgfs mount` and `imgfs umount`."""

import logging
import os
import resource
from collections.abc import Callable
from contextlib import closing, suppress
from threading import Timer

import click

from imgfs.cli.common import cache, cache_size_option, opened
from imgfs.errors import MountError
from imgfs.layers.background import BackgroundVerifier
from imgfs.view import RootDirectory, ViewOptions

logger = logging.getLogger("imgfs")

_PATIENCE = 2.0  # seconds


@click.command(short_help="Mount images as files.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("mountpoint")
@click.option("-o", "options", multiple=True, metavar="OPT[,OPT]...", help="Mount options, see above.")
@click.option("-f", "--foreground", is_flag=True, help="Stay in front, log to standard error.")
@cache_size_option
@click.option(
    "--log-file", type=click.Path(), metavar="FILE", help="In the background, log to FILE, not to syslog."
)
def mount(
    sources: tuple[str, ...],
    mountpoint: str,
    options: tuple[str, ...],
    foreground: bool,
    log_file: str | None,
) -> None:
    """Mount the images of each SOURCE at MOUNTPOINT.

    A SOURCE written without its place, such as containerd:, is left out if this machine has none and another one
    is there. Goes to the background once the file system answers. Unmount with imgfs umount, fusermount3 -u or umount.

    \b
    Options of -o:
      allow_other             let other users see the tree
      uid=N, gid=N            who owns everything in it (default: who mounts;
                              in rootfs/ and layers/, who the image says)
      umask=OCTAL             permissions to take away from everything
      tar=joined|verbatim     rootfs.tar as one tar that tools read to its end, or
                              the layer tars end to end byte for byte
      size=exact|lazy         a stat of a tar whose size is not known yet waits for
                              it, or answers 0
    """
    try:
        from imgfs.mount import background, parse_options, serve  # here, as all else works without libfuse
    except ImportError as error:
        raise MountError(f"pyfuse3 cannot be loaded: {error} (imgfs doctor says more)") from None
    parsed = parse_options(",".join(options))
    if not mountpoint:
        raise click.UsageError("MOUNTPOINT is empty")
    target = os.path.abspath(mountpoint)

    def run(ready: Callable[[], None]) -> None:
        _allow_many_files()
        watchdog = Timer(_PATIENCE, _end_anyway)
        watchdog.daemon = True
        verifier = BackgroundVerifier()
        with closing(verifier), opened(sources, verifier=verifier) as union:
            for source in union.sources:
                _check_cover(target, source.folder, source.reference)
            _check_cover(target, cache().folder, "the cache")
            options = ViewOptions(verbatim_tar=parsed.verbatim_tar)
            root = RootDirectory(union, options, cache().of(union.writers))
            try:
                serve(root, target, parsed, polls=union.refreshers, ready=ready, ended=watchdog.start)
            finally:
                root.close()
        watchdog.cancel()

    if foreground:
        run(lambda: None)
    else:
        background(run, log_file)


def _end_anyway() -> None:
    """End the process: what it has open cannot be closed, as a source hangs."""
    logger.warning("a source hangs: ending without closing what is open there")
    logging.shutdown()
    os._exit(0)


def _allow_many_files() -> None:
    """Let as many files be open as this user may ever have: whoever reads an image has all of its layers open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # there may be a lower limit for the whole machine by now
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _check_cover(mountpoint: str, folder: str | None, name: str) -> None:
    """Refuse to mount where what is read to serve the mount would be out of reach. Raises MountError."""
    if folder is not None:
        above = os.path.realpath(mountpoint)
        if os.path.commonpath([above, os.path.realpath(folder)]) == above:
            raise MountError(f"{mountpoint}: {name} lies in there and would be covered")


@click.command(short_help="Unmount what imgfs mount has mounted.")
@click.argument("mountpoint")
@click.option("-l", "--lazy", is_flag=True, help="Take it out of the tree now, even while it is in use.")
def umount(mountpoint: str, lazy: bool) -> None:
    """Unmount what imgfs mount has mounted at MOUNTPOINT."""
    from imgfs.mount import unmount

    unmount(mountpoint, lazy=lazy)
