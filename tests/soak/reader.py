"""One reader of the soak, a process of its own: `python -m tests.soak.reader TOP EXPECTED SECONDS SEED`.

Does one thing after another by chance, compares every byte it gets with what is expected, and prints what it did as
JSON: operations, bytes compared, what was wrong, and how long each stat took, in seconds.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

_LARGEST_READ = 1 << 20
_MOST_WRONG = 20


class Reader:
    """Reads the mount at `top`; `expected` is what `material.write_expected` wrote."""

    def __init__(self, top: Path, expected: Path, seed: int) -> None:
        self._top = top
        self._expected = expected
        self._images = json.loads((expected / "images.json").read_text())
        self._names = sorted(self._images)
        self._chance = random.Random(seed)
        self.operations = self.compared = 0
        self.wrong: list[str] = []
        self.stats: list[float] = []
        self._kinds: list[Callable[[str], None]] = [
            *(self._stat, self._list, self._read_file, self._read_layer, self._read_joined),
            *(self._config, self._walk, self._hold),
        ]

    def run(self, seconds: float) -> None:
        """Read for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(self.wrong) < _MOST_WRONG:
            image = self._chance.choice(self._names)
            work = self._chance.choice(self._kinds)
            try:
                work(image)
            except OSError as error:
                self.wrong.append(f"{work.__name__} of {image}: {error}")
            self.operations += 1

    def _stat(self, image: str) -> None:
        path = (
            f"{self._top}/images/{image}/rootfs/{self._chance.choice(sorted(self._images[image]['files']))}"
        )
        start = time.perf_counter()
        size = os.stat(path).st_size
        self.stats.append(time.perf_counter() - start)
        self._check(size == self._file(image, path).stat().st_size, f"size of {path}")

    def _list(self, image: str) -> None:
        found = len(os.listdir(f"{self._top}/images/{image}/layers"))
        self._check(found == 2 * len(self._images[image]["layers"]), f"layers of {image}")

    def _read_file(self, image: str) -> None:
        path = (
            f"{self._top}/images/{image}/rootfs/{self._chance.choice(sorted(self._images[image]['files']))}"
        )
        with open(path, "rb") as file:
            self._compare(file.read(), self._file(image, path).read_bytes(), path)

    def _read_layer(self, image: str) -> None:
        number = self._chance.randrange(len(self._images[image]["layers"]))
        name = self._images[image]["layers"][number]
        path = f"{self._top}/images/{image}/layers/{number:02}-{name[:12]}.tar"
        whole = (self._expected / "tars" / name).read_bytes()
        self._read_some(path, whole)

    def _read_joined(self, image: str) -> None:
        """rootfs.tar has the bytes of its layers up to where the first one ends, and the size of all together."""
        path = f"{self._top}/images/{image}/rootfs.tar"
        layers = self._images[image]["layers"]
        bottom = (self._expected / "tars" / layers[0]).read_bytes().rstrip(b"\0")
        with open(path, "rb") as file:
            self._compare(file.read(len(bottom)), bottom, path)
        total = sum((self._expected / "tars" / name).stat().st_size for name in layers)
        self._check(os.stat(path).st_size == total, f"size of {path}")

    def _config(self, image: str) -> None:
        path = f"{self._top}/images/{image}/config.json"
        expected = (self._expected / "files" / self._images[image]["config"]).read_bytes()
        self._compare(Path(path).read_bytes(), expected, path)

    def _walk(self, image: str) -> None:
        root = f"{self._top}/images/{image}/rootfs"
        found = {
            os.path.relpath(os.path.join(folder, name), root)
            for folder, _, names in os.walk(root)
            for name in names
        }
        self._check(found == set(self._images[image]["files"]), f"names in {root}")

    def _hold(self, image: str) -> None:
        """Several reads of one open file, at places by chance."""
        path = (
            f"{self._top}/images/{image}/rootfs/{self._chance.choice(sorted(self._images[image]['files']))}"
        )
        self._read_some(path, self._file(image, path).read_bytes())

    def _read_some(self, path: str, whole: bytes) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            for _ in range(self._chance.randint(1, 8)):
                offset = self._chance.randrange(len(whole) + 1)
                size = self._chance.randint(1, _LARGEST_READ)
                self._compare(
                    os.pread(fd, size, offset), whole[offset : offset + size], f"{path} at {offset}"
                )
        finally:
            os.close(fd)

    def _file(self, image: str, path: str) -> Path:
        name: str = self._images[image]["files"][path.partition("/rootfs/")[2]]
        return self._expected / "files" / name

    def _compare(self, found: bytes, expected: bytes, what: str) -> None:
        self.compared += len(found)
        self._check(found == expected, f"{what}: {len(found)} bytes, not the {len(expected)} expected")

    def _check(self, right: bool, what: str) -> None:
        if not right:
            self.wrong.append(what)


def main(top: str, expected: str, seconds: str, seed: str) -> None:
    reader = Reader(Path(top), Path(expected), int(seed))
    reader.run(float(seconds))
    print(json.dumps([reader.operations, reader.compared, reader.wrong, reader.stats]))


if __name__ == "__main__":
    main(*sys.argv[1:])
