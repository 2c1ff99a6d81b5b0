"""Images of places that keep no manifests: made of the config as it is, and of layers as tars, maybe compressed.

So image IDs and diff IDs stay the same, and equal images give equal manifests.
Format: OCI image specification, manifest.md.
Tried by the tests of `imgfs save` and `imgfs copy`.
"""

from collections.abc import Callable, Iterator

from imgfs.saving.entry import encode_json
from imgfs.saving.piece import CONFIG, MANIFEST, Kind, Piece, config_piece, document_piece, layer_piece
from imgfs.store import Image, LayerStack


def made_pieces(
    image: Image, layers: LayerStack, compress: Callable[[Piece], Piece] = lambda layer: layer
) -> Iterator[Piece]:
    """What an image is copied as; an equal layer may come twice.

    Raises as `layer_piece` and `compress` do, which makes of a tar what is copied.
    """
    descriptors = []
    for number in range(len(layers.diff_ids)):
        layer = compress(layer_piece(layers, number))
        descriptors.append(layer.descriptor)
        yield layer
    config = config_piece(image, CONFIG)
    yield config
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor,
        "layers": descriptors,
    }
    yield document_piece(Kind.MANIFEST, MANIFEST, encode_json(manifest))
