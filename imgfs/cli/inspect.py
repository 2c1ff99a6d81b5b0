"""`imgfs inspect`: all that is known of an image, as JSON."""

import sys

import click
import msgspec

from imgfs.cli.common import opened, source_option, store_option, utf8
from imgfs.digest import ImageID
from imgfs.errors import ImgfsError, InvalidImage
from imgfs.sources import Source
from imgfs.store import Image, LayerStack


@click.command(short_help="Print all that is known of images, as JSON.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@source_option
@store_option
def inspect(images: tuple[str, ...], sources: tuple[str, ...], store: str | None) -> None:
    """Print what is known of each IMAGE (a name, an ID or a unique prefix of one) as a JSON list."""
    with opened(sources, store) as union:
        snapshot = union.snapshot
        descriptions = []
        for image_id in map(snapshot.resolve, images):
            found_in = snapshot.sources[image_id]
            descriptions.append(
                {
                    "Id": image_id,
                    "RepoTags": snapshot.tags_of(image_id),
                    "Parent": snapshot.parents.get(image_id, ""),
                    "Children": snapshot.children.get(image_id, []),
                    "Sources": [utf8(source.reference) for source in found_in],
                    "Size": found_in[0].store.layers(image_id).look_for_size(),
                    "Layers": _layers(found_in[0], image_id),
                    "Config": _config(snapshot.images[image_id]),
                }
            )
    sys.stdout.write(
        msgspec.json.format(msgspec.json.encode(descriptions, enc_hook=str), indent=4).decode() + "\n"
    )


def _layers(source: Source, image_id: ImageID) -> list[dict[str, object]]:
    """Each layer, bottom first: its size as far as known, and whether its bytes were compared with its diff ID."""
    stack = source.store.layers(image_id)
    diff_ids = source.store.get(image_id).diff_ids
    return [
        {"DiffID": diff_id, "Size": stack.look_for_size_of(number), "Verified": _is_verified(stack, number)}
        for number, diff_id in enumerate(diff_ids)
    ]


def _is_verified(stack: LayerStack, number: int) -> bool:
    try:
        return stack.is_verified(number)
    except (ImgfsError, OSError):  # it is not there
        return False


def _config(image: Image) -> msgspec.Raw:
    """The config as it is. Raises InvalidImage if it cannot be part of a JSON document."""
    try:
        image.raw_config.decode()  # fields that imgfs knows have been; JSON has to be UTF-8 everywhere
    except UnicodeDecodeError as error:
        raise InvalidImage(f"image {image.id}: its config is no JSON: {error}") from None
    return msgspec.Raw(image.raw_config)
