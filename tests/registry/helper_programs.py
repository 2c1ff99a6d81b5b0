"""Credential helpers that are shell scripts."""

from pathlib import Path


def write_helper(folder: Path, name: str, script: str) -> None:
    """Write `docker-credential-NAME`, which runs `script`."""
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
