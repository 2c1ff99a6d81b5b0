"""`imgfs verify`: whether the contents of a source match their digests."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

import click

from imgfs.cli.bars import command_bars
from imgfs.cli.color import bad, color_option, good
from imgfs.cli.json_output import json_lines_option, print_json_line
from imgfs.cli.layers_of_source import layers_of, meant, owner_names, taken
from imgfs.cli.messages import utf8
from imgfs.cli.opening import opened
from imgfs.cli.table import fitting, short_digests
from imgfs.errors import ImgfsError, describe, printable
from imgfs.layers import BlobLayer, Layer, copies_of, stored_size, verify_layer
from imgfs.layers.progress import Progress
from imgfs.sources.union import Union

_MOST_OWNERS = 20  # images named in a line; thousands may share a layer


@click.command(short_help="Check the contents of a source against their digests.")
@click.argument("source")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("-q", "--quiet", is_flag=True, help="Print only what is bad.")
@json_lines_option
@color_option
def verify(source: str, images: tuple[str, ...], quiet: bool, as_json: bool) -> None:
    """Read everything that SOURCE refers to, or what belongs to each IMAGE, and check it against its digests.

    SOURCE may be an image, too. Prints a line for each config, layer, manifest and other document, with the images that
    it belongs to, a line for each other problem, and a last line with the counts. Each blob of a layer that is stored
    as several is checked. Names have no digest, so a name that was moved to another image is not noticed. Exit status 1
    if anything is bad, 2 if the check itself fails.

    \b
    Examples:
      imgfs verify docker:
      imgfs verify docker:app:1
    """
    with opened([source]) as union:
        report = Report(quiet=quiet, as_json=as_json)
        verify_source(union, images, report, command_bars())
    report.end()
    click.get_current_context().exit(bool(report.bad))


def verify_source(union: Union, terms: Sequence[str], report: "Report", progress: Progress) -> None:
    """Check the images that `terms` name in `union`, or all that its sources refer to, or were restricted to.

    `progress` shows how far layers are read.
    """
    snapshot = union.snapshot
    for _, problem in union.problems:
        report.line("", problem)
    wanted = meant(union, terms)
    for image_id in wanted:  # its ID is the digest of its config, compared when it was read
        report.line(f"config {image_id}", None, owner_names(snapshot, [image_id]))
    checked: set[object] = set(wanted)
    layers = layers_of(snapshot, wanted)
    for number, (chain_id, (owner, diff_id, owners)) in enumerate(layers.items(), 1):
        label = f"layer {number} of {len(layers)}  {diff_id.short}"
        names = owner_names(snapshot, owners)
        try:
            with taken(owner, chain_id) as layer:
                for copy in copies_of(layer):
                    blob = copy.stored_digest if isinstance(copy, BlobLayer) else None
                    if blob is not None and (blob, diff_id) in checked:
                        continue
                    checked.update([blob, (blob, diff_id)])
                    what = f"layer {diff_id}" + (f", blob {blob}" if blob not in (None, diff_id) else "")
                    report.run(what, partial(_verify_layer, copy, label, progress), names)
        except (ImgfsError, OSError) as error:
            report.line(f"layer {diff_id}", describe(error), names)
    whole = [source for source in union.sources if not terms and source not in union.only]
    for check in chain.from_iterable(source.checks() for source in whole):
        if check.digest is None or check.digest not in checked:
            report.run(check.what, check.run)


def _verify_layer(copy: Layer, label: str, progress: Progress) -> None:
    with progress(label, _size(copy)) as advance:
        verify_layer(copy, advance)


def _size(copy: Layer) -> int | None:
    try:
        return stored_size(copy)
    except (ImgfsError, OSError):  # verifying it reports that
        return None


class Report:
    """Prints a line for each check, and counts the good and the bad."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self._quiet = quiet
        self._as_json = as_json
        self._reported = ""
        self.good = self.bad = 0

    def run(self, what: str, check: Callable[[], object], owners: Sequence[str] = ()) -> None:
        """Run a check and print its result; what was reported as bad before is not reported again."""
        try:
            check()
        except (ImgfsError, OSError) as error:
            if what.startswith("layer ") or _name(what) not in self._reported:
                self.line(what, describe(error), owners)
        else:
            self.line(what, None, owners)

    def line(self, what: str, problem: str | None, owners: Sequence[str] = ()) -> None:
        """Print that `what` is good, or its problem."""
        self.good, self.bad = self.good + (problem is None), self.bad + (problem is not None)
        text = what if problem is None else problem
        if problem is not None and _name(what) not in text:
            text = f"{what}: {text}"
        self._reported += f"{text}\n" if problem is not None else ""
        if self._quiet and problem is None:
            return
        if self._as_json:
            problem = None if problem is None else utf8(problem)
            print_json_line({"good": problem is None, "what": what, "problem": problem, "images": owners})
        else:
            more = f" and {len(owners) - _MOST_OWNERS} more" if len(owners) > _MOST_OWNERS else ""
            names = f"  # {', '.join(owners[:_MOST_OWNERS])}{more}" if owners else ""
            line = printable(f"{text}{names}")
            if problem is None:
                click.echo(f"{good('good')}  {fitting(short_digests(line), before=6)}")
            else:
                click.echo(f"{bad('BAD')}   {line}")

    def end(self) -> None:
        """Print the counts."""
        if not self._quiet and not self._as_json:
            click.echo(f"{self.good} good, {bad(f'{self.bad} bad') if self.bad else '0 bad'}")


def _name(what: str) -> str:
    """The name in `what`: the word after the kind, of a digest only the hex part, as paths have."""
    return [*what.split(" "), ""][1].rstrip(",").rpartition(":")[2]
