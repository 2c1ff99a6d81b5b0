"""Programs in Go beside the tests, compiled."""

import os
import subprocess
from pathlib import Path

from tests.tools import require_tool


def compiled(name: str, folder: Path) -> Path:
    """The program whose source is `name` in this folder, built in another one."""
    path, source = folder / name.removesuffix(".go"), Path(__file__).with_name(name)
    environment = os.environ | {"GO111MODULE": "off", "GOCACHE": str(folder / "cache"), "GOFLAGS": ""}
    subprocess.run([require_tool("go"), "build", "-o", path, source], check=True, env=environment)
    return path
