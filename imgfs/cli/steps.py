"""The steps that made the layers of an image, such as instructions of a Dockerfile."""

import re

from imgfs.errors import printable

_SHELL = re.compile(r"(?P<run>RUN )?/bin/sh -c (?P<nop>#\(nop\) +)?(?P<text>.*?)( # buildkit)?", re.DOTALL)


def shown_step(step: str) -> str:
    """A step on one line, as a Dockerfile has it rather than the shell that engines run."""
    match = _SHELL.fullmatch(step)
    if match is not None:
        step = match["text"] if match["nop"] else f"RUN {match['text']}"
    return " ".join(printable(step.removesuffix(" # buildkit")).split())
