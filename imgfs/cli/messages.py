"""What commands print: messages, progress bars, and values as people and JSON take them."""

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, NoReturn

import click

from imgfs.errors import printable
from imgfs.sizes import human_size

if TYPE_CHECKING:  # it takes longer to load than to complete a command line
    from imgfs.layers.progress import Progress
    from imgfs.store import Problem


def tell(message: str) -> None:
    """Print a message on one line of standard error, after the name of the program."""
    click.echo(f"imgfs: {printable(message)}", err=True)


def end_of_list(problems: Sequence[tuple[str, "Problem"]]) -> NoReturn:
    """End a command that lists images, with status 3 if something broken was skipped."""
    click.get_current_context().exit(3 if problems else 0)


class ClosedStream(io.TextIOWrapper):
    """Stands for a standard stream that the caller closed; what is printed to it is dropped."""


@contextmanager
def progress_bar(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal, with what is done, the rate and the time left.

    Yields a function that takes the number of bytes done since its last call.
    """
    with progress_bars() as bars, bars(label, total) as advance:
        yield advance


@contextmanager
def progress_bars(*, with_text: bool = False) -> Iterator["Progress"]:
    """Several bars at a time, as `progress_bar` shows one, which threads begin and end.

    Those `with_text` stay below what is printed meanwhile, if that goes to a terminal, too.
    """
    if not sys.stderr.isatty():
        yield lambda label, total: nullcontext(lambda _: None)
        return
    from rich import progress  # here, as it takes longer to load than many commands to run
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(20),  # so that a line fits in 80 columns
        progress.TextColumn("{task.fields[figures]}"),
        progress.TimeRemainingColumn(),
    )
    # what is printed meanwhile stays on standard output where that may be a file
    is_text_above = with_text and sys.stdout.isatty()
    with progress.Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=is_text_above
    ) as bars:

        @contextmanager
        def bar(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
            number = bars.add_task(label, total=total, figures="")
            task = next(task for task in bars.tasks if task.id == number)

            def advance(count: int) -> None:
                done = human_size(int(task.completed) + count)
                of = "" if total is None else f"/{human_size(total)}"
                rate = f"  {human_size(int(task.speed))}/s" if task.speed else ""
                bars.update(number, advance=count, figures=f"{done}{of}{rate}")

            try:
                yield advance
            finally:
                bars.refresh()  # a last time, as it may be shorter than the time between two
                bars.remove_task(number)

        yield bar


def utf8(text: str) -> str:
    """Text that JSON can hold: bytes of file names that are not UTF-8, as escapes."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def shown(path: str) -> str:
    """A path for people: what could steer their terminal, and what is not UTF-8, as escapes."""
    return printable(utf8(path))
