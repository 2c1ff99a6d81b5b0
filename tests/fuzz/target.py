"""What a fuzz target is, and the one rule: a parser raises an ImgfsError or nothing, soon and in little memory."""

import resource
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from imgfs.errors import ImgfsError

_MOST_SECONDS = 5.0  # of processor time, for inputs of a few KB
_MOST_MEMORY = 300 << 20  # bytes by which one input may raise the peak


@dataclass(frozen=True)
class Target:
    """A parser: `run` gives it bytes and uses what comes out; `corpus` is sound inputs to begin with."""

    name: str
    run: Callable[[bytes], object]
    corpus: Sequence[bytes]

    def check(self, data: bytes) -> None:
        """Try one input. Raises whatever is not an ImgfsError, and AssertionError if it took too much."""
        memory, begun = _peak(), time.process_time()
        with suppress(ImgfsError):
            self.run(data)
        taken = time.process_time() - begun
        assert taken < _MOST_SECONDS, f"{self.name}: {taken:.1f} s for {data!r}"
        assert _peak() - memory < _MOST_MEMORY, f"{self.name}: too much memory for {data!r}"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
