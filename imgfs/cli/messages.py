"""What commands print: messages, and values as people and JSON take them."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from imgfs.errors import printable

if TYPE_CHECKING:  # it takes longer to load than to complete a command line
    from imgfs.store import Problem


def tell(message: str) -> None:
    """Print a message on one line of standard error, after the name of the program."""
    click.echo(f"imgfs: {printable(message)}", err=True)


def end_of_list(problems: Sequence[tuple[str, "Problem"]]) -> NoReturn:
    """End a command that lists images, with status 3 if something broken was skipped."""
    click.get_current_context().exit(3 if problems else 0)


class ClosedStream(io.TextIOWrapper):
    """Stands for a standard stream that the caller closed; what is printed to it is dropped."""


def utf8(text: str) -> str:
    """Text that JSON can hold: bytes of file names that are not UTF-8, as escapes."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def shown(path: str) -> str:
    """A path for people: what could steer their terminal, and what is not UTF-8, as escapes."""
    return printable(utf8(path))
