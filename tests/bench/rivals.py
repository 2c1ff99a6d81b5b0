"""Other programs to compare with, in a virtual environment of their own."""

import subprocess
import sys
from pathlib import Path

_PACKAGES = ("ratarmount", "indexed_gzip")


def environment(work: Path) -> Path:
    """The folder with their programs, installed now if need be."""
    folder = work / "venv"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *_PACKAGES], check=True)
        (folder / "installed").touch()
    return folder / "bin"


INDEXED_GZIP_READS = """
import random, statistics, sys, time
import indexed_gzip
path, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
file = indexed_gzip.IndexedGzipFile(path)
file.build_full_index()
dice, times = random.Random(1), []
for _ in range(count):
    offset = dice.randrange(size)
    start = time.perf_counter()
    file.seek(offset)
    file.read(131072)
    times.append(time.perf_counter() - start)
print(statistics.median(times))
"""
