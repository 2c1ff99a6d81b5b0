"""`imgfs layers`: what each layer of an image adds, and what of it later ones hide."""

import sys

import click
import msgspec

from imgfs.cli.messages import human_size
from imgfs.cli.naming import named_image
from imgfs.cli.opening import source_option, store_option
from imgfs.digest import DiffID
from imgfs.errors import printable
from imgfs.tree import layer_usage

_BAR = 16  # characters


class _Layer(msgspec.Struct):
    """A layer, as `--json` prints it; sizes in bytes, counts of files."""

    number: int
    diff_id: DiffID
    created_by: str
    size: int
    added: int
    replaced: int
    removed: int
    hidden: int
    hidden_size: int


class _Layers(msgspec.Struct):
    """All layers of an image. `efficiency` is the share of all content that is seen in the end, 1 if there is none."""

    id: str
    layers: list[_Layer]
    size: int
    hidden_size: int
    efficiency: float


@click.command(short_help="Show what each layer adds, and what later ones hide.")
@click.argument("image")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@source_option
@store_option
def layers(image: str, as_json: bool, sources: tuple[str, ...], store: str | None) -> None:
    """Show the layers of IMAGE, the lowest first: the size of their files, how many files they add (+), replace (~) and
    remove (-), how much of it later layers delete or replace, and the step that made them.

    \b
    Example:
      imgfs layers debian
    """
    with named_image(image, sources, store) as named:
        found = named.image
        usage = layer_usage(named.trees())
    steps = [entry.created_by or entry.comment or "" for entry in found.history if not entry.empty_layer]
    steps += [""] * (len(usage) - len(steps))
    rows = [
        _Layer(
            number,
            diff_id,
            step,
            of.size,
            of.added,
            of.replaced,
            of.removed,
            of.hidden,
            of.hidden_size,
        )
        for number, (diff_id, step, of) in enumerate(zip(found.diff_ids, steps, usage, strict=False))
    ]
    size, hidden = sum(row.size for row in rows), sum(row.hidden_size for row in rows)
    whole = _Layers(str(found.id), rows, size, hidden, 1 - hidden / size if size else 1.0)
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(whole, enc_hook=str)).decode()
        sys.stdout.write(text + "\n")
    else:
        _print(whole)


def _print(whole: _Layers) -> None:
    largest = max((row.size for row in whole.layers), default=0) or 1
    lines = [("LAYER", "SIZE", "", "+FILES", "~", "-", "HIDDEN", "STEP")]
    for row in whole.layers:
        bar = "#" * round(_BAR * row.size / largest)
        counts = (str(row.added), str(row.replaced), str(row.removed))
        hidden = human_size(row.hidden_size) if row.hidden else ""
        name = f"{row.number:02}-{row.diff_id.short}"
        lines.append(
            (name, human_size(row.size), bar, *counts, hidden, " ".join(printable(row.created_by).split()))
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, size, bar, added, replaced, removed, hidden, step in lines:
        numbers = (
            f"{added:>{widths[3]}} {replaced:>{widths[4]}} {removed:>{widths[5]}}  {hidden:>{widths[6]}}"
        )
        click.echo(f"{name:<{widths[0]}}  {size:>{widths[1]}} {bar:<{widths[2]}}  {numbers}  {step}".rstrip())
    click.echo(
        f"{human_size(whole.size)} in {len(whole.layers)} layer{'s' * (len(whole.layers) != 1)}, "
        f"{human_size(whole.hidden_size)} hidden by later ones, efficiency {whole.efficiency:.1%}"
    )
