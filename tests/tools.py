"""External tools that tests use: found, or the test is skipped saying which is missing.

In CI (the environment variable CI is set) a missing tool is a failure, so nothing is skipped there unseen.
"""

import os
import shutil

import pytest


def require_tool(name: str) -> str:
    """The path of the program `name`; skips the calling test if it is not installed."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed, and CI must not skip")
        pytest.skip(f"{name} is not installed")
    return path
