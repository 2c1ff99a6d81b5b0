"""`imgfs layers`: what each layer of an image adds, and what of it later ones hide."""

import click
import msgspec

from imgfs.cli.color import bad, color_option, good
from imgfs.cli.json_output import json_option, print_json
from imgfs.cli.naming import named_image
from imgfs.cli.opening import source_option, store_option
from imgfs.cli.steps import shown_step
from imgfs.cli.table import no_trunc_option, print_table
from imgfs.digest import DiffID
from imgfs.sizes import human_size
from imgfs.tree import efficiency_of, layer_usage

_BAR = 10  # characters


class _Layer(msgspec.Struct):
    """A layer, as `--json` prints it; sizes in bytes, counts of files."""

    layer: int
    diff_id: DiffID
    created_by: str
    size: int
    added: int
    replaced: int
    removed: int
    hidden: int
    hidden_size: int


class _Layers(msgspec.Struct):
    """All layers of an image. `efficiency` and `wasted_size` are as dive has them."""

    id: str
    layers: list[_Layer]
    size: int
    hidden_size: int
    wasted_size: int
    efficiency: float


@click.command(short_help="Show what each layer adds, and what later ones hide.")
@click.argument("image")
@json_option
@no_trunc_option
@color_option
@source_option
@store_option
def layers(image: str, as_json: bool, no_trunc: bool, sources: tuple[str, ...], store: str | None) -> None:
    """Show the layers of IMAGE, the lowest first: the size of their files, how many files they add (+), replace (~) and
    remove (-), how much of it later layers delete or replace (red in the bar of a terminal), and the step that
    made them.

    Wasted is what paths take that several layers have, in all of these together; the efficiency is the part of all
    content that the smallest file at each path has. Both are computed as by dive.

    \b
    Example:
      imgfs layers debian
    """
    with named_image(image, sources, store) as named:
        found = named.image
        trees = list(named.trees())
        usage, efficiency = layer_usage(trees), efficiency_of(trees)
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
        for number, (diff_id, step, of) in enumerate(
            zip(found.diff_ids, found.layer_steps, usage, strict=True)
        )
    ]
    size, hidden = sum(row.size for row in rows), sum(row.hidden_size for row in rows)
    whole = _Layers(str(found.id), rows, size, hidden, efficiency.wasted, efficiency.score)
    if as_json:
        print_json(whole)
    else:
        _print(whole, no_trunc=no_trunc)


def _print(whole: _Layers, *, no_trunc: bool) -> None:
    largest = max((row.size for row in whole.layers), default=0) or 1
    lines = [["LAYER", "SIZE", "", "+FILES", "~", "-", "HIDDEN", "STEP"]]
    for row in whole.layers:
        length, lost = (round(_BAR * size / largest) for size in (row.size, row.hidden_size))
        lines.append(
            [
                f"{row.layer:02}-{row.diff_id.short}",
                human_size(row.size),
                good("#" * (length - lost)) + bad("#" * lost),
                str(row.added),
                str(row.replaced),
                str(row.removed),
                human_size(row.hidden_size) if row.hidden else "",
                shown_step(row.created_by),
            ]
        )
    print_table(lines, right=("SIZE", "+FILES", "~", "-", "HIDDEN"), cut=None if no_trunc else "STEP")
    click.echo(
        f"{human_size(whole.size)} in {len(whole.layers)} layer{'s' * (len(whole.layers) != 1)}, "
        f"{human_size(whole.hidden_size)} hidden by later ones; "
        f"wasted {human_size(whole.wasted_size)}, efficiency {whole.efficiency:.1%}"
    )
