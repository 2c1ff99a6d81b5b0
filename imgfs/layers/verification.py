"""Reading a whole layer to see whether it is what its digests say, whatever is known of it already."""

from collections.abc import Callable
from contextlib import suppress

from imgfs.blob import WatchedBlob
from imgfs.errors import Corrupt, ImgfsError
from imgfs.layers.blob_layer import BlobLayer
from imgfs.layers.choice import LayerChoice, copies_of
from imgfs.layers.hashing import digest_of
from imgfs.layers.index_file import LayerIndex
from imgfs.layers.index_pass import IndexPass
from imgfs.layers.layer import Layer
from imgfs.layers.toc_layer import TocLayer
from imgfs.tar import FOLLOWED


def verify_layer(layer: Layer, advance: Callable[[int], None]) -> None:
    """Read and decode every copy of a layer; `advance` takes the stored bytes read since.

    Raises Corrupt, or what reading raises, once all were read.
    """
    failures: list[ImgfsError | OSError] = []
    for copy in copies_of(layer):
        try:
            _verify_copy(copy, advance)
        except (ImgfsError, OSError) as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _verify_copy(layer: Layer, advance: Callable[[int], None]) -> None:
    if isinstance(layer, BlobLayer):
        key = layer.key()
        with WatchedBlob(layer.open_blob(), advance) as blob:
            if blob.is_remote:
                with layer.content() as content:
                    header = content.verify_again(advance)
            else:
                header = IndexPass(blob, key.compression, key.name, key.algorithms).run(lambda _: None).header
        key.verify(header)
        if header.damage.startswith(FOLLOWED):
            raise Corrupt(f"{key.name}: {header.damage}")
        return
    if isinstance(layer, TocLayer):
        _verify_copy(layer.blob, advance)
        layer.compare()
        return
    with layer.open() as blob:
        found = digest_of(blob, layer.diff_id.algorithm, advance)
    if found != layer.diff_id:
        raise Corrupt(f"layer {layer.diff_id}: failed to verify, its bytes are {found}")


def check_stored(layer: BlobLayer) -> None:
    """Compare a layer's stored bytes with their digest, without decoding them.

    Raises Corrupt, or what reading raises.
    """
    if layer.stored_digest is None:
        return
    with layer.open_blob() as blob:
        found = digest_of(blob, layer.stored_digest.algorithm)
    if found != layer.stored_digest:
        raise Corrupt(
            f"layer {layer.diff_id}, blob {layer.stored_digest}: failed to verify, its stored bytes are {found}"
        )


def index_layer(layer: Layer, advance: Callable[[int], None], *, to_share: bool = False) -> LayerIndex | None:
    """Index a layer that can be and is not yet; `advance` is as for `verify_layer`. Raises as that does.

    Returns the index, None for a layer that has none. One `to_share` was proved here, and has digests of spans.
    """
    if isinstance(layer, LayerChoice):
        return layer.attempt(lambda copy: index_layer(copy, advance, to_share=to_share))
    blob = layer.blob if isinstance(layer, TocLayer) else layer
    if not isinstance(blob, BlobLayer):
        return None
    with blob.content() as content:
        return content.wait_for_index(with_copy=False, advance=advance, to_share=to_share)


def stored_size(layer: Layer) -> int | None:
    """How many stored bytes `verify_layer` reads, None if that is not known."""
    if isinstance(layer, LayerChoice):
        total = 0
        for copy in copies_of(layer):
            with suppress(ImgfsError, OSError):  # verifying it reports it
                total += stored_size(copy) or 0
        return total
    blob = layer.blob if isinstance(layer, TocLayer) else layer
    if not isinstance(blob, BlobLayer):
        return layer.known_size
    with blob.open_blob() as stored:
        return stored.size
