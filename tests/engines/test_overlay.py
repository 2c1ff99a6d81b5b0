"""What `tests.tree.unpacking` takes for Docker's unpacking, against a real Docker on overlay2."""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.engines.conftest import Engines
from tests.engines.engine import Docker
from tests.tree.stacks import Entry, Facts, merged, real_facts, tar, tree_facts
from tests.tree.unpacking import lower_layers_mounted, mounted, unpacked

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
DEVICE, PIPE = tarfile.CHRTYPE, tarfile.FIFOTYPE
LIB = [Entry("usr/lib", DIRECTORY, mode=0o755), Entry("usr/lib/libc", FILE, "c")]
OLD = [Entry("x", DIRECTORY, mode=0o700), Entry("x/old", FILE, "o")]
OWNED = [Entry("a", FILE, "1", mode=0o600, owner=1)]
STACKS: dict[str, Sequence[list[Entry]]] = {
    "through a lower link": [[*LIB, Entry("lib", SYMLINK, "usr/lib")], [Entry("lib/foo", FILE, "f")]],
    "whiteout through it": [[*LIB, Entry("lib", SYMLINK, "/usr/lib")], [Entry("lib/.wh.libc", FILE)]],
    "below a file": [[Entry("a", FILE, "x")], [Entry("a/b", FILE, "b")]],
    "below a pipe": [[Entry("a", PIPE)], [Entry("a/b", FILE, "b")]],
    "below a device": [[Entry("a", DEVICE)], [Entry("a/b", FILE, "b")]],
    "below a loop": [[Entry("a", SYMLINK, "a")], [Entry("a/b", FILE, "b")]],
    "implied": [[Entry("t", DIRECTORY, mode=0o1777, owner=5), Entry("t/x", FILE)], [Entry("t/y", FILE)]],
    "whiteout, then directory": [OLD, [Entry(".wh.x", FILE), Entry("x", DIRECTORY), Entry("x/new", FILE)]],
    "whiteout, then file": [OLD, [Entry(".wh.x", FILE), Entry("x", FILE)]],
    "whiteout in a new directory": [OLD, [Entry("n/.wh.z", FILE), Entry("z", FILE)]],
    "whiteouts of other types": [OLD, [Entry(".wh.x", DIRECTORY), Entry("y", FILE)]],
    "name like a whiteout's": [OLD, [Entry(".wh.x/a", FILE)]],
    "opaque": [OLD, [Entry("x/.wh..wh..opq", FILE), Entry("x/new", FILE)]],
    "opaque, then directory": [OLD, [Entry("x/.wh..wh..opq", FILE), Entry("x", DIRECTORY, mode=0o711)]],
    "opaque root": [OLD, [Entry(".wh..wh..opq", FILE), Entry("y", FILE)]],
    "links in a layer": [[*LIB, Entry("lib", SYMLINK, "/usr/lib"), Entry("lib/q/w", FILE)], OLD],
    "hard link": [[*OWNED, Entry("b", HARDLINK, "a", mode=0o4755, owner=2, mtime=9)]],
    "hard link to a link": [[Entry("s", SYMLINK, "t", owner=1), Entry("b", HARDLINK, "s", owner=2, mtime=9)]],
    "hard link through a link": [[*LIB, Entry("s", SYMLINK, "usr"), Entry("b", HARDLINK, "s/lib/libc")]],
    "device 0/0": [OLD, [Entry("x", DEVICE, device=(0, 0)), Entry("n", DEVICE, device=(0, 0))]],
    "device 0/0, linked": [[*OWNED, *OLD], [Entry("a", DEVICE, device=(0, 0)), Entry("b", HARDLINK, "a")]],
    "hidden, then there again": [OLD, [Entry(".wh.x", FILE)], [Entry("x/b", FILE)]],
    "replaced, then there again": [OLD, [Entry("x", FILE)], [Entry("x/b", FILE)]],
    "names that lead out": [[Entry("../../etc/p", FILE), Entry("/a/../b/p", FILE)]],
}


def compared(facts: Facts, implied: set[bytes]) -> dict[bytes, tuple[object, ...]]:
    """Facts without numbers of links, and without the times of directories that have no member."""
    return {path: (*of[:3], None if path in implied else of[4], *of[5:]) for path, of in facts.items()}


def _archive(path: Path, layers: Sequence[bytes]) -> str:
    """Write layers as what `docker load` takes; returns the image's ID."""
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    document = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    config = json.dumps(document).encode()
    image = hashlib.sha256(config).hexdigest()
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": f"{image}.json", "RepoTags": None, "Layers": names}]).encode()
    with tarfile.open(path, "w") as archive:
        for name, data in [(f"{image}.json", config), *zip(names, layers, strict=True)]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo("manifest.json")
        info.size = len(manifest)
        archive.addfile(info, io.BytesIO(manifest))
    return image


def _major(docker: Docker) -> int:
    """The first number of the engine's version."""
    return int(docker.command("version", "--format", "{{.Server.Version}}").partition(".")[0])


@pytest.mark.parametrize("name", STACKS)
def test_it_is_what_a_container_of_docker_sees(engines: Engines, tmp_path: Path, name: str) -> None:
    docker = engines["docker-overlay2"].engine
    assert isinstance(docker, Docker)
    stack = STACKS[name]
    layers = unpacked(stack, tmp_path)
    assert layers == [tar(layer) for layer in stack]  # nothing of it is refused
    image = _archive(tmp_path / "image.tar", layers)
    with mounted(stack, tmp_path) as top:
        guessed = real_facts(top)
    tree = merged(layers)
    implied = {tree.path(entry) for entry in tree.walk() if tree.layers[entry] >= len(layers)}
    assert compared(tree_facts(tree, layers), implied) == compared(guessed, implied)
    if name == "names that lead out" and _major(docker) >= 28:  # which takes them no more
        with pytest.raises(AssertionError, match="invalid entry name"):
            docker.load(tmp_path / "image.tar")
        return
    docker.load(tmp_path / "image.tar")
    of = json.loads(docker.command("inspect", image))[0]["GraphDriver"]["Data"]
    folders = [of["UpperDir"], *filter(None, of.get("LowerDir", "").split(":"))]
    with lower_layers_mounted(folders, tmp_path / "docker") as top:
        theirs = real_facts(top)
    docker.command("rmi", image)
    assert compared(guessed, implied) == compared(theirs, implied)
