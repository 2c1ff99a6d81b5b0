"""Progress bars on standard error, if that is a terminal: what is done, the rate and the time left.

All bars of a command are drawn by one object, as a terminal shows one display at a time, and any thread may begin one.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

import click

from imgfs.sizes import human_size

if TYPE_CHECKING:  # it takes longer to load than many commands to run
    from rich.progress import Progress

_BARS = "imgfs.bars"


class Bars:
    """Draws bars while there are some. Safe to use from several threads.

    Those `with_text` stay below what is printed meanwhile, if that goes to a terminal, too.
    """

    def __init__(self) -> None:
        self.with_text = False
        self._lock = Lock()
        self._count = 0
        self._display: Progress | None = None

    @contextmanager
    def __call__(self, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """One bar; yields a function that takes the number of bytes done since its last call."""
        if not sys.stderr.isatty():
            yield lambda count: None
            return
        display = self._begin()
        number = display.add_task(label, total=total, figures="")
        task = next(task for task in display.tasks if task.id == number)

        def advance(count: int) -> None:
            done = human_size(int(task.completed) + count)
            of = "" if total is None else f"/{human_size(total)}"
            rate = f"  {human_size(int(task.speed))}/s" if task.speed else ""
            display.update(number, advance=count, figures=f"{done}{of}{rate}")

        try:
            yield advance
        finally:
            display.refresh()  # a last time, as it may be shorter than the time between two
            display.remove_task(number)
            self._end()

    def close(self) -> None:
        """Stop drawing, even if a thread has not ended its bar, as when the command is interrupted twice."""
        with self._lock:
            self._stop()

    def _begin(self) -> "Progress":
        with self._lock:
            self._count += 1
            if self._display is None:
                self._display = _display(with_text=self.with_text)
                self._display.start()
            return self._display

    def _end(self) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                self._stop()

    def _stop(self) -> None:
        if self._display is not None:
            self._display.stop()
            self._display = None


def _display(*, with_text: bool) -> "Progress":
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(20),  # so that a line fits in 80 columns
        progress.TextColumn("{task.fields[figures]}"),
        progress.TimeRemainingColumn(),
    )
    # what is printed meanwhile stays on standard output where that may be a file
    is_text_above = with_text and sys.stdout.isatty()
    return progress.Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=is_text_above
    )


def command_bars() -> Bars:
    """The bars of this command; the same object at each call."""
    context = click.get_current_context()
    if _BARS not in context.meta:
        bars = context.meta[_BARS] = Bars()
        context.call_on_close(bars.close)
    found: Bars = context.meta[_BARS]
    return found
