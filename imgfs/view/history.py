"""`history`: how an image was made, as a table that people can read."""

from collections.abc import Iterable, Iterator

from imgfs.store import Image

_HEADINGS = ("LAYER", "CREATED", "SIZE", "CREATED BY", "COMMENT")


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
    for rest in range(layer, len(sizes)):  # layers that the history does not tell of
        yield f"{rest:02}", "-", _text(sizes[rest]), "", ""


def _text(size: int | None) -> str:
    return "-" if size is None else str(size)


def _printable(text: str) -> str:
    """On one line, and without what could steer a terminal."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())
