"""Images for the soak: of each, what a reader must find, worked out without imgfs and kept as plain files.

Layers are drawn from a pool, so images share some. Names never change their kind from layer to layer, and each
layer may remove files of lower ones, so the merged tree is a dictionary.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.images import TestImage, digest, layer_tar

_DIRECTORIES = ("bin", "etc", "srv/data", "usr/lib/deep/er")
_POOL = 40
_WORDS = b"the quick brown fox jumps over the lazy dog and finds a layer below\n"


@dataclass(frozen=True)
class Drawn:
    """A layer: its files by path, the paths that it removes, and its tar."""

    files: Mapping[str, bytes]
    removed: Sequence[str]
    tar: bytes


def draw(count: int, seed: int) -> list[list[Drawn]]:
    """The layers of `count` images, one to five each, bottom first; the same for the same seed."""
    pool = [_draw(random.Random(seed * 1000 + number)) for number in range(_POOL)]
    chance = random.Random(seed)
    return [chance.sample(pool, chance.randint(1, 5)) for _ in range(count)]


def images(stacks: Sequence[Sequence[Drawn]]) -> list[TestImage]:
    """An image of each stack of layers, with a name of its own."""
    return [
        TestImage([layer.tar for layer in stack], [f"soak/{number}:1"]) for number, stack in enumerate(stacks)
    ]


def write_expected(folder: Path, stacks: Sequence[Sequence[Drawn]]) -> None:
    """Write what the images of these stacks hold: `tars/<hex>` of each layer, `files/<hex>` of each file's content,
    and `images.json`: by ID, the diff IDs of the layers and the digest of each file by path.
    """
    for name in ("tars", "files"):
        (folder / name).mkdir(parents=True)
    described = {}
    for image, stack in zip(images(stacks), stacks, strict=True):
        merged: dict[str, bytes] = {}
        for layer in stack:
            merged = {path: data for path, data in merged.items() if path not in layer.removed}
            merged |= layer.files
        described[image.id[7:]] = {
            "layers": [_write(folder / "tars", layer.tar) for layer in stack],
            "files": {path: _write(folder / "files", data) for path, data in merged.items()},
            "config": _write(folder / "files", image.config),
        }
    (folder / "images.json").write_text(json.dumps(described))


def _write(folder: Path, data: bytes) -> str:
    """Write some bytes under the hex of their digest."""
    name = digest(data).removeprefix("sha256:")
    (folder / name).write_bytes(data)
    return name


def _draw(chance: random.Random) -> Drawn:
    paths = [f"{directory}/{name}" for directory in _DIRECTORIES for name in "abcdefgh"]
    changed = chance.sample(paths, 12)
    files = {path: _content(chance) for path in changed[:9]}
    removed = changed[9:]
    directories: dict[str, bytes | None] = {f"{path.rpartition('/')[0]}/": None for path in changed}
    whiteouts = {f"{path.rpartition('/')[0]}/.wh.{path.rpartition('/')[2]}": b"" for path in removed}
    return Drawn(files, removed, layer_tar({**directories, **files, **whiteouts}))


def _content(chance: random.Random) -> bytes:
    size = chance.choice((0, 1, 511, 512, 513, 4096, 70_000, 300_000, 1_500_000))
    if chance.random() < 0.5:
        return chance.randbytes(size)
    return (_WORDS * (size // len(_WORDS) + 1))[:size]
