"""The steps that made the layers of an image, such as instructions of a Dockerfile."""

import re

from imgfs.errors import printable
from imgfs.store import Image

_SHELL = re.compile(r"(?P<run>RUN )?/bin/sh -c (?P<nop>#\(nop\) +)?(?P<text>.*?)( # buildkit)?", re.DOTALL)


def layer_steps(image: Image) -> list[str]:
    """The step of each layer, bottom first, as the image has it; empty where that is not known."""
    steps = [entry.created_by or entry.comment or "" for entry in image.history if not entry.empty_layer]
    return [*steps, *[""] * (len(image.diff_ids) - len(steps))]


def shown_step(step: str) -> str:
    """A step on one line, as a Dockerfile has it rather than the shell that engines run."""
    match = _SHELL.fullmatch(step)
    if match is not None:
        step = match["text"] if match["nop"] else f"RUN {match['text']}"
    return " ".join(printable(step.removesuffix(" # buildkit")).split())
