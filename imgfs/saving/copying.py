"""Copying an image piece by piece: what is there already is left, and the rest put, several at once if that pays.

Tried by the tests of `imgfs copy`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from threading import Event, Thread
from typing import ClassVar, Protocol

from imgfs.digest import Digest
from imgfs.layers.progress import Progress
from imgfs.saving.piece import Piece

_ENDING = 2  # seconds that copies which are to stop are waited for


class Destination(ABC):
    """Where an image is copied to. Nothing of it is seen there before `finish`.

    Methods raise ImgfsError or OSError, Corrupt if the bytes of a piece are not those of its digest; `has` and `put`
    are called by as many threads at once as it has `workers`.
    """

    workers: ClassVar[int] = 1

    @abstractmethod
    def has(self, piece: Piece) -> bool:
        """Whether a piece is there already, whole and right."""

    @abstractmethod
    def put(self, piece: Piece, advance: Callable[[int], None]) -> None:
        """Write a piece; `advance` is called with numbers of bytes done, and what it raises ends it."""

    @abstractmethod
    def finish(self, top: Piece) -> None:
        """Write the last piece, and have the image be there."""


class Shows(Protocol):
    """Is called when a piece is about to be copied, or `is_there` already."""

    def __call__(self, piece: Piece, *, is_there: bool) -> None: ...


def copy_pieces(pieces: Iterable[Piece], destination: Destination, progress: Progress, show: Shows) -> Piece:
    """Copy an image; returns its last piece, the manifest or the index. Raises what reading and writing raise."""
    stopping = Event()
    pending: set[Future[None]] = set()
    seen: set[Digest] = set()

    def copy(piece: Piece) -> None:
        if destination.has(piece):
            show(piece, is_there=True)
            return
        show(piece, is_there=False)
        with progress(f"{piece.kind.value} {piece.digest.short}", piece.size) as advance:

            def advance_unless_stopping(count: int) -> None:
                if stopping.is_set():
                    raise _Stopped
                advance(count)

            destination.put(piece, advance_unless_stopping)

    def begin(piece: Piece) -> Future[None]:
        future = Future[None]()

        def run() -> None:
            try:
                copy(piece)
            except BaseException as error:  # raised again by the thread that waits
                future.set_exception(error)
            else:
                future.set_result(None)

        # a daemon, as a program that is interrupted does not wait for a registry that has stopped sending
        Thread(target=run, name=f"copy {piece.digest.short}", daemon=True).start()
        return future

    def wait_until(most: int) -> None:
        while len(pending) > most:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                pending.remove(future)
                future.result()

    try:
        for piece, is_last in _with_last(pieces):
            if is_last or piece.kind.is_document:
                wait_until(0)
            if is_last:
                show(piece, is_there=False)
                destination.finish(piece)
            elif piece.digest not in seen:
                wait_until(destination.workers - 1)
                seen.add(piece.digest)
                pending.add(begin(piece))
    except BaseException:
        stopping.set()
        wait(pending, _ENDING)
        raise
    return piece


class _Stopped(Exception):
    """Ends what is running after something else has failed."""


def _with_last(pieces: Iterable[Piece]) -> Iterator[tuple[Piece, bool]]:
    """Each piece, and whether it is the last one. There is at least one."""
    iterator = iter(pieces)
    piece = next(iterator)
    for following in iterator:
        yield piece, False
        piece = following
    yield piece, True
