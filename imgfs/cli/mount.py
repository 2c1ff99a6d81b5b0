"""`imgfs mount` and `imgfs umount`."""

import logging
import os
from collections.abc import Callable
from contextlib import closing
from threading import Timer

import click

from imgfs.cli.opening import cache, cache_size_option, opened
from imgfs.errors import MountError
from imgfs.layers.background import BackgroundVerifier
from imgfs.view import RootDirectory, ViewOptions

logger = logging.getLogger("imgfs")

_CLOSING_SECONDS = 2.0  # after which files of a source that hangs are left open


@click.command(short_help="Mount images as files.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("mountpoint")
@click.option("-o", "options", multiple=True, metavar="OPT[,OPT]...", help="Set mount options, see above.")
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground, and log to standard error.")
@cache_size_option
@click.option(
    "--log-file", type=click.Path(), metavar="FILE", help="In the background, log to FILE instead of syslog."
)
def mount(
    sources: tuple[str, ...],
    mountpoint: str,
    options: tuple[str, ...],
    foreground: bool,
    log_file: str | None,
) -> None:
    """Mount the images of each SOURCE at MOUNTPOINT.

    A SOURCE written without its place, such as containerd:, is skipped with a warning if it cannot be opened and
    another one can. The command goes to the background once the file system can be used. Unmount it with imgfs umount,
    fusermount3 -u or umount.

    \b
    Options of -o:
      allow_other             let other users see the tree
      uid=N, gid=N            owner of all files (default: the user who mounts;
                              in rootfs/ and layers/, as recorded in the image)
      umask=OCTAL             permissions to remove from all files
      tar=joined|verbatim     show rootfs.tar as one tar that tools read to its
                              end, or as the layer tars end to end byte for byte
      symlinks=asis|inside    show absolute symbolic links of images as they are,
                              which lead to this machine, or leading inside
      noxattr                 show no extended attributes, which makes ls -l faster
      size=exact|lazy         whether a stat of a tar of unknown size waits for
                              the size, or shows 0
    """
    try:
        from imgfs.mount import (  # here, as all other commands work without libfuse
            background,
            parse_options,
            serve,
        )
    except ImportError as error:
        raise MountError(f"pyfuse3 cannot be loaded: {error} (see imgfs doctor)") from None
    parsed = parse_options(",".join(options))
    if not mountpoint:
        raise click.UsageError("MOUNTPOINT is empty")
    target = os.path.abspath(mountpoint)

    def run(ready: Callable[[], None]) -> None:
        watchdog = Timer(_CLOSING_SECONDS, _end_anyway)
        watchdog.daemon = True
        verifier = BackgroundVerifier()
        with closing(verifier), opened(sources, verifier=verifier) as union:
            for source in union.sources:
                _check_cover(target, source.folder, source.reference)
            _check_cover(target, cache().folder, "the cache")
            options = ViewOptions(verbatim_tar=parsed.verbatim_tar, links_inside=parsed.links_inside)
            root = RootDirectory(union, options, cache().of(union.writers))
            try:
                serve(
                    root,
                    target,
                    parsed,
                    polls=union.refreshers,
                    vanished=root.vanished,
                    ready=ready,
                    ended=watchdog.start,
                )
            finally:
                root.close()
        watchdog.cancel()

    if foreground:
        run(lambda: None)
    else:
        background(run, log_file)


def _end_anyway() -> None:
    """End the process although files are open, as closing them hangs with their source."""
    logger.warning("a source hangs: ending without closing its files")
    logging.shutdown()
    os._exit(0)


def _check_cover(mountpoint: str, folder: str | None, name: str) -> None:
    """Raises MountError if the mount would hide what is read to serve it."""
    if folder is not None:
        above = os.path.realpath(mountpoint)
        if os.path.commonpath([above, os.path.realpath(folder)]) == above:
            raise MountError(f"{mountpoint}: {name} is inside and would be covered")


@click.command(short_help="Unmount a mount of imgfs.")
@click.argument("mountpoint")
@click.option("-l", "--lazy", is_flag=True, help="Unmount even while it is in use.")
def umount(mountpoint: str, lazy: bool) -> None:
    """Unmount the mount of imgfs at MOUNTPOINT."""
    from imgfs.mount import unmount

    unmount(mountpoint, lazy=lazy)
