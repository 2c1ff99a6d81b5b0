"""Images of places that keep no manifests: made of the config as it is, and of layers as uncompressed tars.

So image IDs and diff IDs stay the same, and equal images give equal manifests.
Format: OCI image specification, manifest.md.
Tried by the tests of `imgfs save` and `imgfs copy`.
"""

from collections.abc import Iterator

from imgfs.saving.entry import SavedImage, encode_json
from imgfs.saving.piece import CONFIG, MANIFEST, Kind, Piece, document_piece, layer_piece


def made_pieces(saved: SavedImage) -> Iterator[Piece]:
    """What an image is copied as; an equal layer may come twice. Raises as `layer_piece` does."""
    layers = []
    for number in range(len(saved.layers.diff_ids)):
        layer = layer_piece(saved.layers, number)
        layers.append(layer.descriptor)
        yield layer
    config = document_piece(Kind.CONFIG, CONFIG, saved.image.raw_config, saved.image.id)
    yield config
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor,
        "layers": layers,
    }
    yield document_piece(Kind.MANIFEST, MANIFEST, encode_json(manifest))
