"""`imgfs mount` and `imgfs umount`."""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from threading import Timer
from typing import TYPE_CHECKING

import click

from imgfs.cli.messages import tell
from imgfs.cli.notify import notify
from imgfs.cli.opening import cache, cache_size_option, opened, registries
from imgfs.cli.reaching import give
from imgfs.cli.remedies import check_fuse, mount_as_root, remedy
from imgfs.errors import InvalidOption, MountError
from imgfs.layers.background import BackgroundVerifier
from imgfs.layers.progress import no_progress
from imgfs.registry.reference import is_registry_reference
from imgfs.sources import SCHEMES
from imgfs.sources.image_reference import parse_source
from imgfs.sources.lookup import as_source
from imgfs.sources.reference import split_tag
from imgfs.sources.union import Union
from imgfs.view import RootDirectory, ViewOptions

if TYPE_CHECKING:
    from imgfs.mount import MountOptions

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
    another one can. A SOURCE may be an image, too: it is shown with those that it is based on. The command goes to the
    background once the file system can be used. Unmount it with imgfs umount, fusermount3 -u or umount.

    \b
    Options of -o:
      allow_other           let other users see the tree
      uid=N, gid=N          owner of all files (default: the user who mounts;
                            in rootfs/ and layers/, as recorded in the image)
      umask=OCTAL           permissions to remove from all files
      tar=joined|verbatim   show rootfs.tar as one tar that tools read to its
                            end, or as the layer tars, byte for byte
      symlinks=asis|inside  show absolute links of images as they are, which
                            lead to this machine, or as leading inside
      kernel                have the kernel show each rootfs/ itself, much
                            faster (root only, see imgfs help mount)
      noxattr               show no extended attributes: ls -l is faster
      size=exact|lazy       whether a stat of a tar of unknown size waits for
                            the size, or shows 0 (default: exact, but of
                            registries lazy)
      locate                index layers in the background, for imgfs locate
      offline, platform=OS/ARCH[/VARIANT], tls-verify=BOOL,
      authfile=FILE, cert-dir=DIR, toc=never|tarsplit|any
                            how registries are reached, see imgfs help
                            registries

    The exit status is 2 for wrong usage and unknown options, and 32 for any other error, as of mount.

    \b
    Examples:
      imgfs mount docker:app:1 /mnt
      imgfs mount -o symlinks=inside docker: containerd: /mnt
      sudo imgfs mount -o allow_other,uid=1000 docker: /mnt
      imgfs mount docker://localhost:5000/app:1 /mnt
    """
    try:
        from imgfs.mount import (  # here, as all other commands work without libfuse
            background,
            check_mountpoint,
            parse_options,
            serve,
        )
    except ImportError as error:
        raise MountError(f"pyfuse3 cannot be loaded: {error} (see imgfs doctor)") from None
    text = ",".join(options)
    try:
        parsed = parse_options(text)
    except InvalidOption as error:
        raise click.UsageError(str(error)) from None
    give(click.get_current_context(), _of_registries(parsed))
    parsed = replace(parsed, fsname=parsed.fsname or ",".join(map(_with_whole_path, sources)))
    if not mountpoint:
        raise click.UsageError("MOUNTPOINT is empty")
    target = os.path.abspath(mountpoint)
    check_fuse()
    check_mountpoint(target, replaces_dead=parsed.by_kernel)

    def run(ready: Callable[[Union], None]) -> None:
        watchdog = Timer(_CLOSING_SECONDS, _end_anyway)
        watchdog.daemon = True
        verifier = BackgroundVerifier()

        def ended() -> None:
            notify("STOPPING=1")
            watchdog.start()

        def by_root(error: Exception) -> str:
            """The command by which root mounts what this user may not read."""
            return f" (as root: {mount_as_root(sources, mountpoint, text)})" if remedy(error) else ""

        registries().fetching = no_progress  # a mount does not draw when files are read
        with closing(verifier), opened(sources, verifier=verifier, remedy=by_root) as union:
            for source in union.sources:
                for folder in source.folders:
                    _check_cover(target, folder, source.reference)
            _check_cover(target, cache().folder, "the cache")
            view = ViewOptions(verbatim_tar=parsed.verbatim_tar, links_inside=parsed.links_inside)
            root = RootDirectory(union, view, cache().of(union.writers), registries().stats)
            is_remote = any(is_registry_reference(source.reference) for source in union.sources)
            lazy_size = is_remote if parsed.lazy_size is None else parsed.lazy_size
            indexing: AbstractContextManager[object] = nullcontext()
            if parsed.is_indexed:
                from imgfs.locate.background import BackgroundSurvey

                indexing = closing(BackgroundSurvey(union, cache()))
            try:
                with indexing:
                    serve(
                        root,
                        target,
                        replace(parsed, lazy_size=lazy_size),
                        polls=union.refreshers,
                        damaged=verifier.has_failed,
                        vanished=root.vanished,
                        usage=root.usage,
                        ready=lambda: ready(union),
                        ended=ended,
                    )
            finally:
                root.close()
        watchdog.cancel()

    def report(union: Union) -> None:
        count = len(union.snapshot.images)
        notify("READY=1", f"STATUS={count} image{'s' * (count != 1)} at {target}")

    if foreground:
        run(report)
    else:
        background(lambda ready: run(lambda _: ready()), log_file)


def _of_registries(options: "MountOptions") -> Mapping[str, object]:
    """What the options say of registries, by the names that other commands have for it."""
    said = {
        "authfile": options.authfile,
        "cert_dir": options.cert_dir,
        "tls_verify": options.tls_verify,
        "platform": options.platform,
        "offline": options.is_offline or None,
        "toc": options.toc,
    }
    return {name: value for name, value in said.items() if value is not None}


def _end_anyway() -> None:
    """End the process although files are open, as closing them hangs with their source."""
    logger.warning("a source hangs: ending without closing its files")
    logging.shutdown()
    os._exit(0)


def _with_whole_path(reference: str) -> str:
    """A source as it is shown to processes that may have another working directory."""
    parsed = parse_source(reference, SCHEMES)
    if is_registry_reference(reference):
        return reference
    scheme, colon, place = reference.partition(":")
    if parsed.source == f"{scheme}:" or (parsed.source is None and as_source(parsed) is None):
        return reference  # the name of an image
    if scheme not in SCHEMES or not colon:
        scheme, colon, place = "", "", reference
    path, _ = split_tag(place) if place else ("", None)
    return f"{scheme}{colon}{os.path.abspath(place) if os.path.lexists(path) else place}"


def _check_cover(mountpoint: str, folder: str, name: str) -> None:
    """Raises MountError if the mount would hide what is read to serve it."""
    if folder is not None:
        above = os.path.realpath(mountpoint)
        if os.path.commonpath([above, os.path.realpath(folder)]) == above:
            raise MountError(f"{mountpoint}: {name} is inside and would be covered")


@click.command(short_help="Unmount a mount of imgfs.")
@click.argument("mountpoint")
@click.option("-l", "--lazy", is_flag=True, help="Detach it now, even while it is in use.")
def umount(mountpoint: str, lazy: bool) -> None:
    """Unmount the mount of imgfs at MOUNTPOINT.

    If it is in use, the processes that use it are listed. The exit status for an error is 32, as of umount.

    \b
    Example:
      imgfs umount DIR
    """
    from imgfs.mount import MountBusy, unmount

    try:
        unmount(mountpoint, lazy=lazy)
    except MountBusy as busy:
        for reason in busy.reasons:
            tell(reason)
        raise
