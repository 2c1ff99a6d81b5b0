"""`history`: how an image was made, as a table that people can read."""

from collections.abc import Iterable, Iterator, Sequence

from imgfs.blob import Blob, MemoryBlob
from imgfs.errors import ImageNotFound
from imgfs.store import Image
from imgfs.view.image_origin import ImageOrigin
from imgfs.view.node import File, Origin

_HEADINGS = ("LAYER", "CREATED (UTC)", "SIZE", "CREATED BY", "COMMENT")


class HistoryFile(File):
    """The table of an image, with the sizes of its layers as far as they are known when it is opened."""

    mutable = True

    def __init__(self, key: str, image: Image, origin: ImageOrigin, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._image = image
        self._origin = origin

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._origin.origins

    @property
    def known_size(self) -> int | None:
        layers = self._origin.known_layers
        return len(self._table(layers.sizes())) if layers and layers.has_looked_for_sizes else None

    def look_for_size(self) -> int:
        return len(self._content())

    def open(self) -> Blob:
        return MemoryBlob(self._content())

    def _content(self) -> bytes:
        try:
            return self._table(self._origin.read(lambda layers: layers.look_for_sizes()))
        except ImageNotFound:  # removed since
            return self._table([None] * len(self._image.diff_ids))

    def _table(self, sizes: Sequence[int | None]) -> bytes:
        return history_table(self._image, sizes).encode("utf-8", "surrogateescape")


def history_table(image: Image, sizes: Iterable[int | None]) -> str:
    """One line a step, the latest first, as docker shows them, a heading above; `-` for what is not known.

    `sizes` are those of the layers' tars in bytes, bottom first. Steps that made no layer have none.
    """
    rows = [_HEADINGS, *reversed(list(_rows(image, list(sizes))))]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for layer, created, size, by, comment in rows:
        fixed = f"{layer:>{widths[0]}}  {created:<{widths[1]}}  {size:>{widths[2]}}"
        lines.append(f"{fixed}  {by}{'  # ' + comment if comment and by else comment}".rstrip())
    return "\n".join(lines) + "\n"


def _rows(image: Image, sizes: list[int | None]) -> Iterator[tuple[str, ...]]:
    layer = 0
    for entry in image.history:
        created = f"{entry.created:%Y-%m-%d %H:%M:%S}" if entry.created else "-"
        number, size = "-", "0"
        if not entry.empty_layer and layer < len(sizes):
            number, size = f"{layer:02}", _text(sizes[layer])
            layer += 1
        yield number, created, size, _printable(entry.created_by or ""), _printable(entry.comment or "")
    for rest in range(layer, len(sizes)):  # layers that are not in the history
        yield f"{rest:02}", "-", _text(sizes[rest]), "", ""


def _text(size: int | None) -> str:
    return "-" if size is None else str(size)


def _printable(text: str) -> str:
    """On one line, and without what could steer a terminal."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())
