"""What opening sources takes besides their names; one object for all that a command opens.

Tried by the tests of the commands that open several, and of the Python API.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from imgfs.cache import Cache
from imgfs.layers.background import BackgroundVerifier
from imgfs.layers.progress import Progress, no_progress
from imgfs.sources.registries import Registries

Remedy = Callable[[Exception], str]
"""Returns what can be done about an error, in parentheses after a space; empty if that is not known."""


def no_remedy(_: Exception) -> str:
    """Knows of none."""
    return ""


@dataclass(frozen=True, slots=True)
class Opening:
    """How sources are opened.

    What is learnt of their layers is kept in `cache`. With a `verifier`, layers that are stored uncompressed are
    verified by it. `progress` shows what opening them waits for, and `remedy` says what to do about errors.
    `registries` is how registries are reached, None for what files say.
    """

    cache: Cache
    verifier: BackgroundVerifier | None = None
    progress: Progress = no_progress
    remedy: Remedy = no_remedy
    registries: Registries | None = None

    @property
    def reaching(self) -> Registries:
        """How registries are reached."""
        return self.registries or Registries(self.cache)

    def for_one_image(self) -> "Opening":
        """The same, where of images for several platforms only one is looked for."""
        return replace(self, registries=self.reaching.for_one_image())
