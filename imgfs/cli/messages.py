"""What commands say to people on standard error."""

import click

from imgfs.errors import printable


def tell(message: str) -> None:
    """Print what is wrong, on one line that says who says so."""
    click.echo(f"imgfs: {printable(message)}", err=True)
