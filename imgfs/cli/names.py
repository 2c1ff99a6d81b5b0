"""`imgfs tag` and `imgfs rm`: names of images in our own store, and getting rid of both."""

import click

from imgfs.cli.common import opened, store_option, writing
from imgfs.errors import InUse, printable
from imgfs.sources.names import full_name


@click.command(short_help="Give an image another name.")
@click.argument("image")
@click.argument("name")
@store_option
def tag(image: str, name: str, store: str | None) -> None:
    """Give IMAGE another NAME, taking it from whichever image had it."""
    with opened([], store) as union, writing(store) as writer:
        writer.tag(union.snapshot.resolve(image), full_name(name))


@click.command(short_help="Remove images from the store of imgfs.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-f", "--force", is_flag=True, help="Also if it has children or several names.")
@store_option
def rm(images: tuple[str, ...], force: bool, store: str | None) -> None:
    """Remove each IMAGE, given by name, ID or a unique prefix of one, and the layers that only it has.

    Given by one of several names, only that name is removed, as docker does.
    """
    for term in images:
        with opened([], store) as union, writing(store) as writer:
            snapshot = union.snapshot
            image_id = snapshot.resolve(term)
            tags = snapshot.tags_of(image_id)
            if len(tags) > 1 and not force:
                name = snapshot.name_meant(term)
                if name is None:
                    raise InUse(
                        f"image {image_id.short} has several names ({', '.join(tags)}; --force to remove it)"
                    )
                writer.untag([name])
                _tell_untagged(name)
                continue
            writer.remove(image_id, force=force)
            for name in tags:
                _tell_untagged(name)
            click.echo(f"Deleted: {image_id}")


def _tell_untagged(name: str) -> None:
    click.echo(f"Untagged: {printable(name)}")
