"""`imgfs check`: a gate for CI that fails if an image does not keep to rules."""

import re
import sys
from collections.abc import Mapping, Sequence

import click

from imgfs.checking import DIVE_DEFAULTS, Result, check_image, rules_of
from imgfs.checking.reports import failures, json_report, junit_report, markdown_report, shortened, summary
from imgfs.checking.rule_file import find_rule_file, read_rule_values
from imgfs.cli.color import bad, color_option, good
from imgfs.cli.messages import shown, tell
from imgfs.cli.naming import named_image
from imgfs.cli.opening import source_option, store_option
from imgfs.cli.table import print_table

_REPORTS = {"json": json_report, "junit": junit_report, "markdown": markdown_report}


def _as_ours(option: str) -> str:
    """The option that dive calls so: --lowestEfficiency is --lowest-efficiency."""
    return re.sub(r"(?<=[a-z])[A-Z]", lambda letter: f"-{letter[0].lower()}", option)


@click.command(
    short_help="Check an image against rules, for CI.", context_settings={"token_normalize_func": _as_ours}
)
@click.argument("image")
@click.option(
    "--config", metavar="FILE", help="Read rules from FILE (default: .imgfs-check.toml or .dive-ci)."
)
@click.option("--lowest-efficiency", metavar="SHARE", help="Efficiency must be at least SHARE, such as 95%.")
@click.option("--highest-wasted-bytes", metavar="SIZE", help="At most SIZE, such as 20M, may be wasted.")
@click.option(
    "--highest-user-wasted-percent",
    metavar="SHARE",
    help="At most SHARE of what the layers above the lowest have may be wasted.",
)
@click.option("--highest-size", metavar="SIZE", help="All layers together may have at most SIZE.")
@click.option("--must-exist", metavar="PATH", multiple=True, help="Something must match PATH.")
@click.option("--must-not-exist", metavar="PATH", multiple=True, help="Nothing may match PATH.")
@click.option(
    "--must-not-hide",
    metavar="PATH",
    multiple=True,
    help="Nothing that later layers delete or replace may match PATH.",
)
@click.option(
    "--allow-setuid",
    metavar="PATH",
    multiple=True,
    help="No file but those that match PATH may be setuid, setgid or have capabilities.",
)
@click.option("--no-setuid", is_flag=True, help="No file at all may be so.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", *_REPORTS]),
    default="table",
    show_default=True,
    help="How to print the result.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@color_option
@source_option
@store_option
def check(
    image: str,
    config: str | None,
    form: str,
    as_json: bool,
    no_setuid: bool,
    sources: tuple[str, ...],
    store: str | None,
    **options: str | tuple[str, ...] | None,
) -> None:
    """Check IMAGE against rules; the exit status is 1 if it breaks one, and 2 for an error.

    Rules come from a file, in which they are called as the options are, and from options, which replace those of the
    file. Without any, they are those of dive: an efficiency of 90%, and at most 10% wasted. PATH may have wildcards and
    is matched as by imgfs find. Efficiency and wasted bytes are as dive has them, and its .dive-ci means the same here.
    The share that is wasted may exceed 100%: waste in the lowest layer counts, and its size does not.

    \b
    A file of rules, .imgfs-check.toml:
      highest-wasted-bytes = "20M"
      must-not-exist = ["/root/.ssh/**"]
      must-not-hide = ["**/id_rsa", "**/*.pem"]
      allow-setuid = ["/usr/bin/su"]

    \b
    Examples:
      imgfs check --must-not-hide '**/*.pem' --no-setuid app:1
      imgfs check --config rules.toml --format junit app:1 > imgfs.xml
    """
    given = {name.replace("_", "-"): value for name, value in options.items() if value not in (None, ())}
    if no_setuid:
        given.setdefault("allow-setuid", ())
    path = find_rule_file() if config is None else config
    read: Mapping[str, object] = read_rule_values(path) if path is not None else {}
    if path is not None:
        rules_of(read, path)
    values = {**read, **given} or DIVE_DEFAULTS
    rules = rules_of(values, "options")
    with named_image(image, sources, store) as named:
        results = check_image(named, rules)
    results = [_printable(result) for result in results]
    if form == "table" and not as_json:
        _print(results)
        if values is DIVE_DEFAULTS:
            tell("no rules are given, so these are those that dive has (imgfs help check)")
    else:
        sys.stdout.write(_REPORTS["json" if as_json else form](image, named.image_id, results))
    click.get_current_context().exit(bool(failures(results)))


def _printable(result: Result) -> Result:
    return Result(
        result.rule,
        shown(result.limit),
        result.found,
        result.holds,
        [shown(detail) for detail in result.details],
    )


def _print(results: Sequence[Result]) -> None:
    lines = [["", "RULE", "LIMIT", "FOUND"]]
    for result in results:
        verdict = good("ok") if result.holds else bad("FAIL")
        lines.append([verdict, result.rule, result.limit, result.found])
    print_table(lines, cut="LIMIT")
    for result in results:
        if result.details:
            click.echo(f"\n{result.rule}, {result.limit}:")
            for detail in shortened(result.details):
                click.echo(f"  {detail}")
    click.echo()
    click.echo(bad(summary(results)) if failures(results) else good(summary(results)))
