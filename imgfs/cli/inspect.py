"""`imgfs inspect`: the details of images as JSON, in the words of `docker image inspect` and others beside them.

Format: Docker Engine API, ImageInspect; `Digest` and `History` are podman's, `ImageConfig` is the whole
config, and `Stats` what the command has asked of registries. `ParentDerived` is whether the parent is recorded nowhere,
but derived by podman's rule.
"""

import click
import msgspec

from imgfs.cli.image_list import Listed
from imgfs.cli.json_output import print_json
from imgfs.cli.messages import utf8
from imgfs.cli.naming import named_images
from imgfs.cli.opening import registries, source_option, store_option
from imgfs.cli.template import Template
from imgfs.digest import Digest
from imgfs.errors import ImgfsError, InvalidImage
from imgfs.go_json import parse_json
from imgfs.layers import BlobLayer, Layer, TocLayer, copies_of
from imgfs.registry.reference import is_registry_reference
from imgfs.sources.chosen import ChosenImage
from imgfs.sources.documents import parse_document
from imgfs.sources.manifests import Descriptor, Document
from imgfs.store import Image

_Fields = dict[str, object]


@click.command(short_help="Print the details of images as JSON.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "-f",
    "--format",
    "form",
    metavar="FORMAT",
    help="Print each by a Go template, such as '{{.Id}}'; or json.",
)
@click.option("--json", is_flag=True, hidden=True, expose_value=False, help="Print JSON, as it does anyway.")
@source_option
@store_option
def inspect(images: tuple[str, ...], form: str | None, sources: tuple[str, ...], store: str | None) -> None:
    """Print the details of each IMAGE as a JSON list, as docker image inspect does.

    \b
    Examples:
      imgfs inspect debian
      imgfs inspect -f '{{json .Config.Env}}' debian
    """
    template = Template(form) if form not in (None, "json") else None
    with named_images(images, sources, store) as found:
        described = [_described(named, _config(named.image)) for named in found]
        for fields, named in zip(described, found, strict=True):
            if is_registry_reference(named.snapshot.source_of(named.image_id).reference):
                fields["Stats"] = registries().stats.as_dict()
        if template is not None:
            for fields in described:
                click.echo(template.render(fields))
            return
        for fields, named in zip(described, found, strict=True):
            fields["ImageConfig"] = msgspec.Raw(named.image.raw_config)  # as it is, byte for byte
        print_json(described, indent=4)


def _described(named: ChosenImage, config: _Fields) -> _Fields:
    image, snapshot = named.image, named.snapshot
    listed = Listed.of(snapshot, image, snapshot.tags_of(image.id))
    manifest = listed.manifest()
    updated = filter(None, (source.last_updated(image.id) for source in listed.sources))
    layers = _layers(named, manifest)
    variant = {"Variant": image.variant} if image.variant else {}
    return {
        "Id": image.id,
        "RepoTags": listed.tags,
        "RepoDigests": listed.repo_digests,
        "Parent": listed.parent or "",
        "ParentDerived": image.id in snapshot.derived,
        "Comment": image.comment,
        "Created": config.get("created"),
        "DockerVersion": config.get("docker_version", ""),
        "Author": image.author,
        "Config": config.get("config"),
        "Architecture": image.architecture,
        **variant,
        "Os": image.os,
        "Size": listed.size if listed.size is not None else _stored_size(layers),
        "RootFS": {"Type": "layers", "Layers": image.diff_ids},
        "Metadata": {"LastTagTime": next((moment.isoformat() for moment in updated), None)},
        "Digest": Digest.of(manifest) if manifest is not None else None,
        "Children": snapshot.children.get(image.id, []),
        "Sources": [utf8(source.reference) for source in listed.sources],
        "Layers": layers,
        "History": config.get("history", []),
        "ImageConfig": config,
    }


def _layers(named: ChosenImage, manifest: bytes | None) -> list[_Fields]:
    """Each layer, lowest first: its sizes if they are known, and whether its bytes were compared with its diff ID."""
    stack, described = named.layers, _descriptors(named.image, manifest)
    source = utf8(named.snapshot.source_of(named.image.id).reference)
    found: list[_Fields] = []
    for number, (diff_id, chain_id) in enumerate(zip(stack.diff_ids, stack.chain_ids, strict=True)):
        first, is_verified = _first(named, number)
        stored = first.stored_digest if isinstance(first, BlobLayer) else None
        descriptor = described[number] if described else None
        found.append(
            {
                "DiffID": diff_id,
                "ChainID": chain_id,
                "Digest": descriptor.digest if descriptor else stored,
                "MediaType": descriptor.media_type if descriptor else None,
                "Size": stack.look_for_size_of(number),
                "StoredSize": descriptor.size if descriptor else None,
                "Verified": is_verified,
                "From": source if first is not None else None,
                "Index": "proved" if is_verified else _index(first),
            }
        )
    return found


def _index(layer: Layer | None) -> str:
    """What makes the files of a layer known that was not verified."""
    if isinstance(layer, TocLayer) and not layer.failure:
        return "toc"
    blob = layer.blob if isinstance(layer, TocLayer) else layer
    try:
        level = blob.level if isinstance(blob, BlobLayer) else None
    except (ImgfsError, OSError):  # the layer is missing
        return "none"
    return level or "none"


def _stored_size(layers: list[_Fields]) -> int | None:
    """What layers take where they are stored, None if that is not known of one."""
    sizes = [layer["StoredSize"] for layer in layers]
    known = [size for size in sizes if isinstance(size, int)]
    return sum(known) if len(known) == len(sizes) else None


def _descriptors(image: Image, manifest: bytes | None) -> list[Descriptor] | None:
    """The layers as the manifest has them; None if that has others."""
    try:
        layers = parse_document(manifest, Document, "manifest").layers if manifest is not None else None
    except InvalidImage:
        return None
    return layers if layers and len(layers) == len(image.diff_ids) else None


def _first(named: ChosenImage, number: int) -> tuple[Layer | None, bool]:
    """A layer, None if it is missing, the first copy if there are several; and whether its bytes were verified."""
    try:
        first = named.layers.use(number, lambda layer: copies_of(layer)[0])
        is_verified = named.layers.is_verified(number)
    except (ImgfsError, OSError):  # the layer is missing
        return None, False
    return first, is_verified


def _config(image: Image) -> _Fields:
    """The config. Raises InvalidImage if it cannot be part of a JSON document."""
    try:
        image.raw_config.decode()  # only fields that imgfs uses have been checked; JSON has to be UTF-8 throughout
    except UnicodeDecodeError as error:
        raise InvalidImage(f"image {image.id}: its config is no JSON: {error}") from None
    return parse_json(image.raw_config, _Fields, f"config of image {image.id}")
