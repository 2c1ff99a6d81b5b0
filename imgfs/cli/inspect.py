"""`imgfs inspect`: the details of an image, as JSON."""

import sys

import click
import msgspec

from imgfs.cli.messages import utf8
from imgfs.cli.opening import opened, source_option, store_option
from imgfs.digest import ImageID
from imgfs.errors import ImgfsError, InvalidImage
from imgfs.sources import Source
from imgfs.store import Image, LayerStack


@click.command(short_help="Print the details of images as JSON.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@source_option
@store_option
def inspect(images: tuple[str, ...], sources: tuple[str, ...], store: str | None) -> None:
    """Print the details of each IMAGE, a name, an ID or a unique prefix of an ID, as a JSON list."""
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
    """Each layer, lowest first: its size if it is known, and whether its bytes were compared with its diff ID."""
    stack = source.store.layers(image_id)
    diff_ids = source.store.get(image_id).diff_ids
    return [
        {"DiffID": diff_id, "Size": stack.look_for_size_of(number), "Verified": _is_verified(stack, number)}
        for number, diff_id in enumerate(diff_ids)
    ]


def _is_verified(stack: LayerStack, number: int) -> bool:
    try:
        return stack.is_verified(number)
    except (ImgfsError, OSError):  # the layer is missing
        return False


def _config(image: Image) -> msgspec.Raw:
    """The exact config. Raises InvalidImage if it cannot be part of a JSON document."""
    try:
        image.raw_config.decode()  # only fields that imgfs uses have been checked; JSON has to be UTF-8 throughout
    except UnicodeDecodeError as error:
        raise InvalidImage(f"image {image.id}: its config is no JSON: {error}") from None
    return msgspec.Raw(image.raw_config)
