"""Random stacks of layers, merged, against what `umoci unpack` makes of the same image."""

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.tar.stacks import (
    Entry,
    implies_directories,
    merged,
    real_facts,
    stacks,
    tar,
    tree_facts,
    without_times,
)
from tests.tools import require_tool


def _layout(path: Path, layers: list[bytes]) -> None:
    """An image layout with one image, tagged `t`, of plain layers."""
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, kind: str) -> dict[str, object]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{name}",
            "size": len(data),
        }

    descriptors = [blob(layer, "layer.v1.tar") for layer in layers]
    diff_ids = [descriptor["digest"] for descriptor in descriptors]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    manifest = {
        "schemaVersion": 2,
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": descriptors,
    }
    entry = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "t"}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


@pytest.mark.skipif(os.geteuid() != 0, reason="device nodes and owners need root")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stacks(sparse=["pax"]))  # umoci knows no other way
def test_a_random_stack_is_what_umoci_unpacks(stack: list[list[Entry]]) -> None:
    umoci = require_tool("umoci")
    layers = [tar(layer) for layer in stack]
    with tempfile.TemporaryDirectory() as folder:
        _layout(Path(folder, "layout"), layers)
        command = [umoci, "unpack", "--image", f"{folder}/layout:t", f"{folder}/bundle"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stderr
        ours = tree_facts(merged(layers), layers)
        theirs = real_facts(Path(folder, "bundle/rootfs"))
        if implies_directories(layers):  # umoci leaves the time of making those on them and around them
            ours, theirs = without_times(ours), without_times(theirs)
        assert ours == theirs
