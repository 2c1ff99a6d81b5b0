"""Adding an image to an OCI image layout in a directory, in place, as skopeo does.

Blobs are staged in a folder of its own beneath the layout's, and get their names in one go at the end, after which
`index.json` is replaced; so a copy that fails leaves nothing, and a reader sees the layout before or after it. Copies
at the same time wait for each other for that moment only.
Format: OCI image specification, image-layout.md.
Tried by the tests of `imgfs copy`.
"""

import errno
import fcntl
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any, BinaryIO, ClassVar, Self

from imgfs.blob import Folder, blob_chunks
from imgfs.digest import Digest
from imgfs.errors import Corrupt, StoreError
from imgfs.saving.copying import Destination
from imgfs.saving.entry import encode_json
from imgfs.saving.oci_layout import LAYOUT, new_index, with_image
from imgfs.saving.piece import Piece
from imgfs.sources.documents import MAX_LIST, parse_document, read_document

_INDEX, _VERSION, _BLOBS = "index.json", "oci-layout", "blobs"


class LayoutDirectory(Destination):
    """The layout in the directory `folder`, which may be empty, to which an image is added under `tag`, if any.

    A context manager. An image that had the tag keeps its place without it. Raises StoreError if the directory is
    neither, InvalidImage if its index does not parse, OSError.
    """

    workers: ClassVar[int] = 3

    def __init__(self, folder: Folder, tag: str) -> None:
        self._folder = folder
        self._tag = tag
        names = {entry.name for entry in folder.scan()}
        if names and _INDEX not in names:
            raise StoreError(f"{folder.path}: neither empty nor an OCI image layout")
        self._index()
        self._staged: dict[Digest, str] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        name = f".imgfs-{secrets.token_hex(8)}.partial"
        with ExitStack() as undo:  # also where Ctrl-C ends this
            undo.callback(self._folder.remove, name)
            try:
                self._staging = undo.enter_context(self._folder.folder(name, make=True, mode=0o700))
            except OSError as error:
                error.filename = self._folder.path
                raise
            self._open = undo.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def has(self, piece: Piece) -> bool:
        try:
            with self._blobs(piece.digest) as blobs, blobs.open(piece.digest.hex) as blob:
                if blob.size == piece.size:
                    for _ in piece.checked(blob_chunks(blob)):
                        pass
                    return True
        except (FileNotFoundError, Corrupt):  # it is replaced
            pass
        return False

    def put(self, piece: Piece, advance: Callable[[int], None]) -> None:
        name = secrets.token_hex(8)
        with closing(piece.chunks()) as chunks, self._writing(name) as file:
            for chunk in chunks:
                file.write(chunk)
                advance(len(chunk))
        self._staged[piece.digest] = name

    def finish(self, top: Piece) -> None:
        if not self.has(top):
            self.put(top, lambda _: None)
        fcntl.flock(self._folder.fileno(), fcntl.LOCK_EX)
        self._staging.sync_files(self._staged.values())
        for digest, name in self._staged.items():
            with self._blobs(digest, make=True) as blobs:
                self._staging.rename(name, blobs, digest.hex)
        for digest in {digest.algorithm: digest for digest in self._staged}.values():
            with self._blobs(digest) as blobs:
                blobs.sync()
        if not self._exists(_VERSION):
            self._folder.write(_VERSION, encode_json(LAYOUT), self._staging)
        index = with_image(self._index(), top, self._tag)
        self._folder.write(_INDEX, encode_json(index), self._staging)

    @contextmanager
    def _writing(self, name: str) -> Iterator[BinaryIO]:
        """A new file. Raises OSError that names the layout where there is no room."""
        try:
            with open(self._staging.create(name), "wb") as file:
                yield file
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                error.filename = self._folder.path
            raise

    def _blobs(self, digest: Digest, *, make: bool = False) -> Folder:
        with self._folder.folder(_BLOBS, make=make) as blobs:
            return blobs.folder(digest.algorithm, make=make)

    def _exists(self, name: str) -> bool:
        with suppress(FileNotFoundError):
            self._folder.stat(name)
            return True
        return False

    def _index(self) -> dict[str, Any]:
        """What `index.json` says now."""
        if not self._exists(_INDEX):
            return new_index([])
        path = self._folder.path_of(_INDEX)
        data = read_document(self._folder.open(_INDEX), path, limit=MAX_LIST)
        index = parse_document(data, dict[str, Any], path)
        if not isinstance(index.get("manifests"), list | None):
            raise StoreError(f"{path}: not the index of an OCI image layout")
        return index
