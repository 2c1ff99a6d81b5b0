"""Compressing the layers of an image for which a manifest is made.

Equal tars give equal bytes, so that what a registry has is not pushed again: no time and no name is in them.
Tried by the tests of `imgfs copy`.
"""

import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Any, Self

from imgfs.blob import FileBlob
from imgfs.codec.zstd_module import zstd
from imgfs.digest import Digest
from imgfs.layers.progress import Progress
from imgfs.saving.piece import LAYER, Kind, Piece

_GZIP_LEVEL, _ZSTD_LEVEL = 6, 3
_WITH_HEADER = 16 + zlib.MAX_WBITS
_FOLDER = "/var/tmp"  # noqa: S108  # as of skopeo: /tmp may be in memory


class LayerFormat(StrEnum):
    """How layers are compressed."""

    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def media_type(self) -> str:
        """That of a layer."""
        return f"{LAYER}+{self}"

    def compressor(self) -> Any:
        """What compresses one layer, with `compress` and `flush`."""
        if self is LayerFormat.GZIP:
            return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _WITH_HEADER)
        return zstd.ZstdCompressor(_ZSTD_LEVEL)


class LayerCompressor:
    """Compresses layers into temporary files, which are there until it is closed; a context manager.

    `progress` shows how far it has come. They are in TMPDIR, or /var/tmp.
    """

    def __init__(self, form: LayerFormat, progress: Progress) -> None:
        self._form = form
        self._progress = progress
        self._files = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._files.close()

    def has_made(self, blobs: Iterable[Piece]) -> bool:
        """Whether the layers among the blobs of a manifest are compressed in this way, as their types say."""
        suffixes = (f"+{self._form}", f".{self._form}")
        kinds = (blob.media_type.lower() for blob in blobs if blob.kind is not Kind.CONFIG)
        return all(kind.endswith(suffixes) for kind in kinds)

    def compressed(self, layer: Piece) -> Piece:
        """A layer, compressed now. Raises Corrupt if its tar has another digest, OSError, and what reading raises."""
        folder = os.environ.get("TMPDIR") or _FOLDER
        name = f"{folder}: layer {layer.digest}, compressed"
        found, size = hashlib.sha256(), 0
        try:
            file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # closed with the others
            self._files.callback(file.close)
            with self._progress(f"compressing {layer.digest.short}", layer.size) as advance:
                for data in self._compress(layer, advance):
                    file.write(data)
                    found.update(data)
                    size += len(data)
        except OSError as error:
            error.filename = error.filename or folder
            raise
        return replace(
            layer,
            media_type=self._form.media_type,
            digest=Digest.from_hex(found.hexdigest()),
            size=size,
            open_blob=partial(_opened, name, file.fileno()),
        )

    def _compress(self, layer: Piece, advance: Callable[[int], None]) -> Iterator[bytes]:
        compressor = self._form.compressor()
        for chunk in layer.chunks():
            yield compressor.compress(chunk)
            advance(len(chunk))
        yield compressor.flush()


def _opened(name: str, fd: int) -> FileBlob:
    return FileBlob(name, os.dup(fd))
