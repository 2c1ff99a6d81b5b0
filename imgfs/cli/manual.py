"""`imgfs help` and `imgfs completion`, and the man pages, which have the same text."""

import re
import sys
from collections.abc import Iterator

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from imgfs.errors import NotFound
from imgfs.help import TOPICS, topic_text
from imgfs.version import __version__

_SHELLS = {"bash": BashComplete, "fish": FishComplete, "zsh": ZshComplete}
PAGES = {
    "imgfs.1": ("imgfs", "container images as files", ("images", "cache", "python", "changes")),
    "imgfs-sources.7": ("imgfs-sources", "where imgfs reads images from", ("sources", "tars", "trust")),
    "mount.imgfs.8": ("mount.imgfs", "mount container images as files", ("mount",)),
}
"""The man pages: name, description, and the topics that they have."""


@click.command("help", short_help="Show the manual, or the help of a command.")
@click.argument("topic", required=False, metavar="[TOPIC|COMMAND]")
@click.pass_context
def help_(context: click.Context, topic: str | None) -> None:
    """Show a TOPIC of the manual, or what COMMAND --help shows.

    \b
    Topics:
      images      how images are named, exit status
      mount       the mounted tree, and the options of mount
      sources     where images are read from
      tars        rootfs.tar, flat.tar, and tars of layers
      cache       what is kept, and where
      trust       what is verified, and how promises are tested
      python      the Python package
      changes     changes that users must know
    """
    top = context.find_root()
    if topic is None:
        click.echo(top.get_help())
        click.echo("\nTopics of the manual (imgfs help TOPIC):\n  " + ", ".join(TOPICS))
        return
    if topic in TOPICS:
        text = topic_text(topic)
        if sys.stdout.isatty():
            click.echo_via_pager(text)
        else:
            click.echo(text, nl=False)
        return
    command = top.command.get_command(top, topic) if isinstance(top.command, click.Group) else None
    if command is None:
        raise NotFound(f"no command or topic {topic!r}; topics are {', '.join(TOPICS)}")
    with click.Context(command, parent=top, info_name=topic) as own:
        click.echo(command.get_help(own))


@click.command(short_help="Print a script that completes commands in a shell.")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
def completion(shell: str) -> None:
    """Print a script that makes SHELL complete commands, options and their values.

    \b
    Examples:
      eval "$(imgfs completion bash)"
      imgfs completion fish > ~/.config/fish/completions/imgfs.fish
    """
    found = _SHELLS[shell](click.Command("imgfs"), {}, "imgfs", "_IMGFS_COMPLETE")
    click.echo(found.source())


def man_page(page: str, group: click.Group) -> str:
    """The text of one of PAGES; `group` has the commands."""
    name, description, topics = PAGES[page]
    section = page.rpartition(".")[2]
    lines = [
        f'.TH "{name.upper()}" {section} "" "imgfs {__version__}"',
        ".SH NAME",
        rf"{name} \- {description}",
    ]
    if section == "1":
        lines += [".SH SYNOPSIS", r"\fBimgfs\fP COMMAND [ARGUMENT]...", *_commands(group)]
    if section == "8":
        lines += [
            ".SH SYNOPSIS",
            r"\fBmount \-t imgfs\fP SOURCE MOUNTPOINT [\fB\-o\fP OPTIONS]",
            ".br",
            r"\fBimgfs mount\fP SOURCE... MOUNTPOINT [\fB\-o\fP OPTIONS]",
        ]
    for topic in topics:
        lines += _roff(topic_text(topic))
    others = [other for other in PAGES if other != page]
    lines += [".SH SEE ALSO", ", ".join(rf"\fB{other[:-2]}\fP({other[-1]})" for other in others)]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group) -> Iterator[str]:
    yield ".SH COMMANDS"
    # with the settings of the command itself, such as the names of its option for help
    names = group.context_settings["help_option_names"]
    with click.Context(group, info_name="imgfs", help_option_names=names) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is None or command.hidden:
                continue
            yield f".SS imgfs {name}"
            with click.Context(
                command, parent=context, info_name=name, max_content_width=78, terminal_width=78
            ) as own:
                yield from _literal(command.get_help(own))


def _roff(markdown: str) -> Iterator[str]:
    """Markdown as used in the manual, as troff's man macros: headings, paragraphs, indented text, `code`."""
    for block in re.split(r"\n{2,}", markdown.strip()):
        heading, _, rest = block.partition("\n")
        if heading.startswith("# "):
            yield f".SH {_escaped(heading[2:]).upper()}"
            block = rest
        if block.startswith("    "):
            yield from _literal("\n".join(line[4:] for line in block.splitlines()))
        elif block:
            yield ".PP"
            for line in block.splitlines():
                text = re.sub(r"`([^`]*)`", lambda code: rf"\fB{code[1]}\fP", _escaped(line))
                yield rf"\&{text}" if text.startswith(".") else text


def _literal(text: str) -> Iterator[str]:
    yield from (".PP", ".RS 4", ".nf")
    for line in text.splitlines():
        escaped = _escaped(line)
        yield rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
    yield from (".fi", ".RE")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
