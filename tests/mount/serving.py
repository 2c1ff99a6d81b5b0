"""Serves a tree for tests, in front: `python -m tests.mount.serving MOUNTPOINT [OPTIONS]`.

Says "ready" on standard output once the file system answers. The tree: `wide/` holds WIDE small files, `deep/` a
directory at the end of many, `text` is a file, and `link` leads to it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from imgfs.errors import ImgfsError
from imgfs.mount import parse_options, serve
from tests.mount.trees import Folder, Link, Text, wide

WIDE = 20_000
DEEP = 200
TEXT = b"what text says\n"


def tree() -> Folder:
    bottom = Folder("/bottom", {b"end": Text("/bottom/end", b"end")})
    for level in range(DEEP):
        bottom = Folder(f"/level-{level}", {b"d": bottom})
    return Folder(
        "/",
        {
            b"wide": wide(WIDE),
            b"deep": bottom,
            b"text": Text("/text", TEXT),
            b"link": Link("/link", b"text"),
            b"empty": Folder("/empty", {}),
        },
    )


def start(top: Path, options: str = "") -> "Popen[bytes]":
    """A process of its own that has mounted the tree at `top`."""
    command = [sys.executable, "-m", "tests.mount.serving", str(top), options]
    process = Popen(command, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    if process.stdout.readline() != b"ready\n":
        raise AssertionError(process.communicate()[1].decode())
    return process


@contextmanager
def served(top: Path, options: str = "") -> Iterator["Popen[bytes]"]:
    """The tree mounted at `top`, by a process that must end well when told to."""
    with start(top, options) as process:
        try:
            yield process
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b""), errors.decode()
    assert not os.path.ismount(top)


def main(top: str, options: str) -> None:
    try:
        serve(tree(), top, parse_options(options), ready=lambda: print("ready", flush=True))
    except ImgfsError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
