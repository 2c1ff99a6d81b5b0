"""What commands say to people on standard error, and what stands for a stream that they closed."""

import io

import click

from imgfs.errors import printable


def tell(message: str) -> None:
    """Print what is wrong, on one line that says who says so."""
    click.echo(f"imgfs: {printable(message)}", err=True)


class ClosedStream(io.TextIOWrapper):
    """Stands for a standard stream that the caller closed; what is printed to it is dropped."""
