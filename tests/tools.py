"""External tools and rights that tests use: found, or the test is skipped saying which is missing.

In CI (the environment variable CI is set) a missing tool is a failure, so nothing is skipped there unseen.
"""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest


def require_tool(name: str) -> str:
    """The path of the program `name`; skips the calling test if it is not installed."""
    path = shutil.which(name)
    if path is None:
        _give_up(f"{name} is not installed")
    return path


def require_module(name: str) -> None:
    """Skips the calling test if a Python module is not installed."""
    if find_spec(name) is None:
        _give_up(f"{name} is not installed; see pyproject.toml")


def require_folder(path: Path) -> Path:
    """A folder that scripts/setup makes; skips the calling test if it is not there."""
    if not path.is_dir():
        _give_up(f"{path} is not made; see scripts/setup")
    return path


def require_root() -> None:
    """Skips the calling test unless it may mount and make files of other users."""
    if os.geteuid() != 0:
        _give_up("only root may do that")


def _give_up(why: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{why}, and CI must not skip")
    pytest.skip(why)
