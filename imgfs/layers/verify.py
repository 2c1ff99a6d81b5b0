"""Reading a whole layer to see whether it is what its digests say; nothing remembered is believed."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from imgfs.blob import Blob, WatchedBlob, blob_chunks
from imgfs.errors import Corrupt, ImgfsError
from imgfs.layers.blob_layer import BlobLayer
from imgfs.layers.choice import LayerChoice, copies_of
from imgfs.layers.indexer import Subject, verify_findings
from imgfs.layers.layer import Layer
from imgfs.layers.survey import Survey
from imgfs.tar import FOLLOWED


def verify_layer(layer: Layer, advance: Callable[[int], None]) -> None:
    """Read every copy of a layer from its stored bytes on; `advance` hears of them.

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
        subject = layer.subject()
        with WatchedBlob(layer.open_blob(), advance) as blob:
            findings = _survey(subject, blob).run(lambda chunk: None)
        verify_findings(subject, findings)
        if findings.facts.damage.startswith(FOLLOWED):
            raise Corrupt(f"{subject.name}: {findings.facts.damage}")
        return
    with layer.open() as blob:
        found = _digest(blob, layer.diff_id.algorithm, advance)
    if found != layer.diff_id:
        raise Corrupt(f"layer {layer.diff_id}: failed to verify, its bytes are {found}")


def _survey(subject: Subject, blob: Blob) -> Survey:
    return Survey(blob, subject.compression, subject.name, subject.algorithms)


def _digest(blob: Blob, algorithm: str, advance: Callable[[int], None] = lambda _: None) -> str:
    sha = hashlib.new(algorithm)
    for chunk in blob_chunks(blob):
        sha.update(chunk)
        advance(len(chunk))
    return f"{algorithm}:{sha.hexdigest()}"


def check_stored(layer: BlobLayer) -> None:
    """Compare a layer's stored bytes with their digest, without decoding them.

    Raises Corrupt, or what reading raises.
    """
    if layer.stored_digest is None:
        return
    with layer.open_blob() as blob:
        found = _digest(blob, layer.stored_digest.algorithm)
    if found != layer.stored_digest:
        raise Corrupt(
            f"layer {layer.diff_id}, blob {layer.stored_digest}: failed to verify, its stored bytes are {found}"
        )


def index_layer(layer: Layer, advance: Callable[[int], None]) -> None:
    """Index a layer that needs it and never was. Raises Corrupt, or what reading raises."""
    if isinstance(layer, LayerChoice):
        layer.attempt(lambda copy: index_layer(copy, advance))
    if isinstance(layer, BlobLayer):
        subject = layer.subject()
        watched: Subject = replace(subject, open_blob=lambda: WatchedBlob(subject.open_blob(), advance))
        layer.indexer.index(watched, with_copy=False)


def stored_size(layer: Layer) -> int | None:
    """How many bytes reading the whole layer takes, where that is known."""
    if isinstance(layer, LayerChoice):
        total = 0
        for copy in copies_of(layer):
            with suppress(ImgfsError, OSError):  # verifying it says so
                total += stored_size(copy) or 0
        return total
    return layer.subject().stored_size if isinstance(layer, BlobLayer) else layer.known_size
