"""`imgfs export`: an image or a container as a tar, as a file system, or unpacked, without a mount."""

import errno
import os
import sys
from contextlib import ExitStack

import click

from imgfs.blob import blob_chunks
from imgfs.cli.bars import command_bars
from imgfs.cli.messages import tell
from imgfs.cli.naming import named_root
from imgfs.cli.opening import source_option, store_option
from imgfs.cli.output import output_file, output_folder, output_option
from imgfs.errors import StoreError
from imgfs.rootfs import RootFS
from imgfs.rootfs.copy_out import CopyOut
from imgfs.sources.chosen import ChosenContainer, ChosenImage, ChosenRoot
from imgfs.view.tars import open_rootfs_tar


@click.command(short_help="Write the root file system of an image or a container as a file.")
@click.argument("image", metavar="IMAGE|CONTAINER")
@output_option
@click.option(
    "-C",
    "--directory",
    metavar="DIR",
    help="Unpack into DIR, which is made or empty, instead of writing a tar.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["tar", "erofs", "squashfs"]),
    default="tar",
    show_default=True,
    help="Write a tar; or an image of a read-only file system: EROFS, which Linux 6.4 or later mounts, or SquashFS.",
)
@click.option(
    "--tar",
    "form",
    type=click.Choice(["flat", "diff", "rootfs", "verbatim"]),
    default="flat",
    show_default=True,
    help="Write the merged root file system; or of a container its own layer (diff); or all layers, as one tar "
    "(rootfs), or end to end byte for byte (verbatim).",
)
@source_option
@store_option
def export(
    image: str,
    output: str,
    directory: str | None,
    kind: str,
    form: str,
    sources: tuple[str, ...],
    store: str | None,
) -> None:
    """Write the root file system of an IMAGE or a CONTAINER as a tar, as docker export does, or unpack it.

    With --tar diff the tar has what a container changed, as docker commit makes a layer of it, with whiteouts for what
    it deleted. With --tar rootfs or verbatim it has all layers of an image, and so also what later layers delete.
    Unpacked as root, files keep their owners; otherwise they belong to the user. What can be read of a damaged layer is
    written; the exit status is 1 then.

    \b
    Examples:
      imgfs export debian | docker import - flat
      imgfs export debian -C debian
      imgfs export web -o web.tar
      imgfs export debian --format erofs -o debian.erofs
    """
    if directory is not None and (output != "-" or form != "flat" or kind != "tar"):
        raise click.UsageError(
            "-C unpacks the root file system: --output, --format and --tar do not go with it"
        )
    if kind != "tar" and form != "flat":
        raise click.UsageError(f"--tar {form} does not go with --format {kind}")
    if output == "-" and directory is None and sys.stdout.isatty():
        what = "a tar" if kind == "tar" else "an image"
        raise click.UsageError(f"{what} is not for a terminal: use -o FILE or redirect the output")
    with named_root(image, sources, store) as named:
        if directory is not None:
            is_whole = _unpack(named, directory)
        else:
            is_whole = _write(named, output, form if kind == "tar" else kind)
    if not is_whole:
        raise StoreError(f"{image}: incomplete, as not all members of its layers can be read")


def _unpack(named: ChosenRoot, path: str) -> bool:
    """Unpack what can be read; returns whether that is all."""
    os.makedirs(path, exist_ok=True)
    with named.root_fs() as root, output_folder(path) as folder:
        if folder.scan():
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        CopyOut(root, folder, tell, archive=os.geteuid() == 0).copy(0, "")
        return not root.tree.damaged


def _write(named: ChosenRoot, output: str, form: str) -> bool:
    """Write what can be read; returns whether that is all."""
    root: RootFS | None = None
    with ExitStack() as stack:
        if form == "flat":
            root = stack.enter_context(named.root_fs())
            blob = stack.enter_context(root.flat_tar())
        elif form == "erofs":
            root = stack.enter_context(named.root_fs())
            blob = stack.enter_context(root.erofs_image(root.erofs_plan()))
        elif form == "squashfs":
            root = stack.enter_context(named.root_fs())
            if any(name.startswith(b"system.") for found in root.tree.xattrs.values() for name in found):
                tell("access control lists are left out, which SquashFS has no room for")
            blob = stack.enter_context(root.squashfs_image())
        elif form == "diff":
            if not isinstance(named, ChosenContainer):
                raise StoreError(f"{named.term}: --tar diff is for containers")
            root = stack.enter_context(named.own_fs())
            blob = stack.enter_context(root.flat_tar())
        elif not isinstance(named, ChosenImage):
            raise StoreError(f"{named.term}: --tar {form} is for images; the layer of a container has no tar")
        else:
            images = named.snapshot.source_of(named.image_id).store
            blob = stack.enter_context(open_rootfs_tar(images, named.image_id, verbatim=form == "verbatim"))
        file = stack.enter_context(output_file(output))
        if form in ("rootfs", "verbatim"):
            tell("this tar has all layers, with files that later ones delete or replace")
        with command_bars()(named.term, blob.known_size) as advance:
            for chunk in blob_chunks(blob):
                file.write(chunk)
                advance(len(chunk))
        return root is None or not root.tree.damaged
