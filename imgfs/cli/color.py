"""Colors in what commands print.

Standard output is colored where it is a terminal, unless --color, NO_COLOR (https://no-color.org) or TERM=dumb says
otherwise; click takes the colors out of what goes elsewhere.
"""

import os
import stat

import click


def color_by_default(context: click.Context) -> None:
    """Set whether the commands below `context` print colors where no option says so."""
    if context.color is None and (os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"):
        context.color = False


def _choose(context: click.Context, parameter: click.Parameter, value: str) -> None:
    if value != "auto":
        context.color = value == "always"


color_option = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    metavar="WHEN",
    default="auto",
    expose_value=False,
    callback=_choose,
    help="Use colors: auto (on a terminal, the default), always or never.",
)


def good(text: str) -> str:
    """Text in the color of what is as it should be, or new."""
    return click.style(text, fg="green")


def bad(text: str) -> str:
    """Text in the color of what is wrong, or gone."""
    return click.style(text, fg="red")


def notable(text: str) -> str:
    """Text in the color of what has changed, or needs a look."""
    return click.style(text, fg="yellow")


def file_name(name: str, mode: int) -> str:
    """A name in the color that ls gives to files of a mode as in stat(2)."""
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFDIR:
        return click.style(name, fg="blue", bold=True)
    if kind == stat.S_IFLNK:
        return click.style(name, fg="cyan", bold=True)
    if kind != stat.S_IFREG:
        return click.style(name, fg="yellow", bold=True)
    if mode & stat.S_ISUID:
        return click.style(name, fg="white", bg="red")
    if mode & stat.S_ISGID:
        return click.style(name, fg="black", bg="yellow")
    return click.style(name, fg="green", bold=True) if mode & 0o111 else name
