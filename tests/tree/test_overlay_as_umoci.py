"""Random stacks of layers, overlaid, against what `umoci unpack` makes of the same image.

It applies layers one on another in one tree, as the image specification says it. Where the kernel's overlayfs shows
something else, which is what containers see, the stacks are made such that both agree (`_agreed`).
"""

import hashlib
import json
import os
import posixpath
import stat
import subprocess
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from imgfs.blob import MemoryBlob
from imgfs.tar import scan_blob
from imgfs.tree import NO_LAYER, Overlay, Tree, TreeBuilder
from imgfs.tree.whiteouts import OPAQUE, WHITEOUT
from tests.tools import require_tool
from tests.tree.stacks import (
    Entry,
    Facts,
    layer_tree,
    merged,
    real_facts,
    stacks,
    tar,
    tree_facts,
)


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


def _without_times(facts: Facts) -> Facts:
    """Facts without the mtimes of directories: umoci leaves that of unpacking on some that whiteouts are in."""
    return {path: (*of[:4], None, *of[5:]) if stat.S_ISDIR(of[0]) else of for path, of in facts.items()}


def _agreed(stack: list[list[Entry]]) -> list[list[Entry]]:
    """A stack without what overlayfs and one tree for all layers make different things of."""
    below = Overlay(pytest.fail)
    layers: list[list[Entry]] = []
    for layer in stack:
        merged = below.tree()
        lowers = {merged.path(of): merged.is_directory(of) for of in merged.walk()}
        kept = list[Entry]()
        for entry in map(_as_its_file, layer):
            tried = _completed([*kept, entry])
            if _agrees(lowers, tried):
                kept = tried
        below.apply(layer_tree(tar(kept)))
        layers.append(kept)
    return layers


def _as_its_file(entry: Entry) -> Entry:
    """Hard links and what they lead to say the same: umoci takes no metadata from links."""
    if entry.type == tarfile.DIRTYPE:
        return entry
    return replace(entry, mode=0o640, owner=7, mtime=1_600_000_000, fraction="", xattr="")


def _completed(layer: list[Entry]) -> list[Entry]:
    """A layer with members for all directories on the way, of whose metadata umoci leaves what is there."""
    tree = _tree(layer, [])
    implied = [entry for entry in tree.walk() if tree.layers[entry] == NO_LAYER]
    return [
        Entry(tree.path(entry).decode("utf-8", "surrogateescape"), tarfile.DIRTYPE) for entry in implied
    ] + layer


def _agrees(lowers: dict[bytes, bool], layer: list[Entry]) -> bool:
    """Whether a layer does to lower ones, paths of theirs that are directories or not, the same in both ways."""
    problems: list[str] = []
    tree = _tree(layer, problems)
    if problems or tree.lower_links or NO_LAYER in tree.layers[1:] or tree.lookup(0, OPAQUE) is not None:
        return False
    names = [posixpath.normpath(f"/{entry.name}") for entry in layer]
    if len(set(names)) < len(names):
        return False
    return all(
        lowers.get(tree.path(directory), True)
        and not any(tree.lookup(directory, WHITEOUT + tree.name(child)) for child in tree.children(directory))
        for directory in [0, *filter(tree.is_directory, tree.walk())]
    )


def _tree(layer: list[Entry], problems: list[str]) -> Tree:
    builder = TreeBuilder(problems.append)
    builder.add(scan_blob(MemoryBlob(tar(layer))))
    return builder.tree()


@pytest.mark.skipif(os.geteuid() != 0, reason="device nodes and owners need root")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stacks(sparse=["pax"]))  # umoci knows no other way
def test_a_random_stack_is_what_umoci_unpacks(stack: list[list[Entry]]) -> None:
    umoci = require_tool("umoci")
    layers = [tar(layer) for layer in _agreed(stack)]
    with tempfile.TemporaryDirectory() as folder:
        _layout(Path(folder, "layout"), layers)
        command = [umoci, "unpack", "--image", f"{folder}/layout:t", f"{folder}/bundle"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stderr
        ours, theirs = tree_facts(merged(layers), layers), real_facts(Path(folder, "bundle/rootfs"))
        assert _without_times(ours) == _without_times(theirs)
