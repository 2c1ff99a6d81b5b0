"""What all nodes of one mounted tree share."""

from dataclasses import dataclass

from imgfs.sources.union import Union
from imgfs.view.options import ViewOptions
from imgfs.view.trees import Trees


@dataclass(frozen=True, slots=True)
class Context:
    """The images there are, how to show them, and the trees that are in memory."""

    union: Union
    options: ViewOptions
    trees: Trees
