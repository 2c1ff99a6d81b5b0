"""`imgfs help` and `imgfs completion`, and the man pages, which have the same text."""

import difflib
import json
import re
import sys
from collections.abc import Iterator

import click

from imgfs.cli.complete import Command
from imgfs.cli.shell_scripts import SCRIPTS
from imgfs.help import TOPICS, topic_text
from imgfs.version import __version__

PAGES = {
    "imgfs.1": ("imgfs", "container images as files", ("images", "cache", "json", "python", "changes")),
    "imgfs-sources.7": (
        "imgfs-sources",
        "where imgfs reads images from",
        ("sources", "registries", "tars", "trust"),
    ),
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
      images      how images are named, exit status, output
      mount       the mounted tree, and the options of mount
      sources     where images are read from
      tars        rootfs.tar, flat.tar, and tars of layers
      cache       what is kept, and where
      trust       what is verified, and how promises are tested
      json        what --json prints
      python      the Python package
      changes     changes that users must know

    \b
    Examples:
      imgfs help images
      imgfs help cp
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
    commands = top.command.list_commands(top) if isinstance(top.command, click.Group) else []
    command = top.command.get_command(top, topic) if isinstance(top.command, click.Group) else None
    if command is None:
        near = difflib.get_close_matches(topic, {*TOPICS, *commands})
        suggestion = f"did you mean {' or '.join(near)}?" if near else "imgfs help lists them"
        context.fail(f"No such command or topic {topic!r}; {suggestion}")
    with click.Context(command, parent=top, info_name=topic) as own:
        click.echo(command.get_help(own))


@click.command(short_help="Print a script that completes commands in a shell.")
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def completion(shell: str) -> None:
    """Print a script that makes SHELL complete commands, options, images, sources, and paths in images.

    \b
    Examples:
      eval "$(imgfs completion bash)"
      source <(imgfs completion zsh)
      imgfs completion fish > ~/.config/fish/completions/imgfs.fish
    """
    click.echo(SCRIPTS[shell], nl=False)


def command_table(group: click.Group) -> str:
    """The commands with their options and arguments as JSON, for `cli.complete`; a command a line."""
    from imgfs.mount.options import option_names  # here, as libfuse may be missing

    names = group.context_settings["help_option_names"]
    with click.Context(group, info_name="imgfs", help_option_names=names) as context:
        commands = dict(_rows(context, group, ""))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in commands.items())
    return (
        f'{{"topics": {json.dumps(TOPICS)},\n"mount_options": {json.dumps(option_names())},\n'
        f'"commands": {{\n{lines}}}}}\n'
    )


def _rows(context: click.Context, command: click.Command, name: str) -> Iterator[tuple[str, Command]]:
    shown = [each for each in command.get_params(context) if not getattr(each, "hidden", False)]
    options = [option for option in shown if isinstance(option, click.Option)]
    inside = {}
    if isinstance(command, click.Group):
        found = {each: command.get_command(context, each) for each in command.list_commands(context)}
        inside = {each: of for each, of in found.items() if of is not None and not of.hidden}
    yield (
        name,
        {
            "commands": {each: of.get_short_help_str(200) for each, of in inside.items()},
            "options": {
                text: (_value(option), option.help or "") for option in options for text in option.opts
            },
            "arguments": [_argument(each, context) for each in shown if isinstance(each, click.Argument)],
        },
    )
    for each, of in inside.items():
        with click.Context(of, parent=context, info_name=each) as own:
            yield from _rows(own, of, f"{name} {each}".strip())


def _value(option: click.Option) -> str:
    """What the usage calls the value of an option, or its choices; empty if it has none."""
    if option.is_flag or option.count:
        return ""
    if isinstance(option.type, click.Choice):
        return "|".join(option.type.choices)
    return option.metavar or option.type.name.upper()


def _argument(argument: click.Argument, context: click.Context) -> str:
    if isinstance(argument.type, click.Choice):
        return "|".join(argument.type.choices)
    text = argument.make_metavar(context)
    return text if argument.nargs == 1 or "..." in text else f"{text}..."


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
        yield from _commands_of(context, group)


def _commands_of(context: click.Context, group: click.Group) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        with click.Context(
            command, parent=context, info_name=name, max_content_width=76, terminal_width=76
        ) as own:
            yield f".SS {own.command_path}"
            yield from _literal(command.get_help(own))
            if isinstance(command, click.Group):
                yield from _commands_of(own, command)


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
    # groff would indent by 11 what has up to 76 columns already
    yield from (".PP", ".in 4n", ".nf")
    for line in text.splitlines():
        escaped = _escaped(line)
        yield rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
    yield from (".fi", ".in")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
