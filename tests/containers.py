"""Containers in a data root of Docker, made without an engine."""

import json
import os
from pathlib import Path
from typing import Any

from tests.images import TestImage, digest


def docker_container(
    root: Path, image: TestImage, number: int = 1, driver: str = "overlay2", **recorded: Any
) -> tuple[str, Path]:
    """Make a container of an image that `docker_root` made there; returns its ID, and the directory of its changes.

    `recorded` is what its record has besides, or instead.
    """
    container_id = f"{number:x}" * 64
    chain = ""
    for tar in image.layers:
        chain = digest(f"{chain} {digest(tar)}".encode()) if chain else digest(tar)
    mount = root / "image" / driver / "layerdb/mounts" / container_id
    mount.mkdir(parents=True)
    (mount / "parent").write_text(chain)
    (mount / "mount-id").write_text(f"mount{number}")
    (mount / "init-id").write_text(f"mount{number}-init")
    own = [root / "overlay2" / f"mount{number}{kind}" / "diff" for kind in ("-init", "")]
    for folder in own:
        folder.mkdir(parents=True)
    (own[0] / ".dockerenv").touch()
    folder = root / "containers" / container_id
    folder.mkdir(parents=True)
    write_record(root, container_id, image, driver, Name=f"/name{number}", **recorded)
    (folder / f"{container_id}-json.log").write_text('{"log":"hello\\n"}\n')
    return container_id, own[1]


def write_record(
    root: Path, container_id: str, image: TestImage, driver: str = "overlay2", **recorded: Any
) -> None:
    """Replace the record of a container, as Docker does."""
    record = {
        "ID": container_id,
        "Created": "2026-01-02T03:04:05.123456789Z",
        "Path": "/bin/sh",
        "Args": ["-c", "echo hello"],
        "Config": {"Image": "example/base:1"},
        "Image": image.id,
        "Driver": driver,
        "State": state("exited"),
        **recorded,
    }
    path = root / "containers" / container_id / "config.v2.json"
    path.with_suffix(".tmp").write_text(json.dumps(record))
    os.rename(path.with_suffix(".tmp"), path)


def state(status: str, **more: Any) -> dict[str, Any]:
    """What Docker records of a container in a state."""
    begun = {"StartedAt": "2026-01-02T03:04:06Z", "FinishedAt": "2026-01-02T03:05:06Z", "ExitCode": 3}
    never = dict.fromkeys(("StartedAt", "FinishedAt"), "0001-01-01T00:00:00Z")
    flags = {
        "running": {"Running": True},
        "paused": {"Running": True, "Paused": True},
        "restarting": {"Running": True, "Restarting": True},
        "removing": {"RemovalInProgress": True},
        "dead": {"Dead": True},
    }
    return (never if status == "created" else begun) | flags.get(status, {}) | more
