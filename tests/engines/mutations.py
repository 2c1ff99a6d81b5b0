"""Random changes of a root file system, as programs in a container make them."""

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from random import Random

_NAMES = ("a", "b", "c.txt", "dir", "e", "new", "ünï", "x y")


def mutate(root: Path, random: Random, count: int) -> None:
    """Change `count` things below a directory; what cannot be done is not."""
    for _ in range(count):
        folder = random.choice(_folders(root))
        path, other = (folder / random.choice(_NAMES) for _ in range(2))
        with suppress(OSError):
            _change(random.randrange(13), path, other, random)


def _change(kind: int, path: Path, other: Path, random: Random) -> None:
    is_directory = path.is_dir() and not path.is_symlink()
    if kind == 0:
        _write(path, random.randbytes(random.randrange(5000)), os.O_TRUNC)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        shutil.rmtree(path) if is_directory else path.unlink()
    elif kind == 3 and is_directory:  # which makes it opaque
        shutil.rmtree(path)
        path.mkdir()
        (path / "inside").write_text("new")
    elif kind == 4:
        os.rename(path, other)
    elif kind == 5:
        os.link(path, other, follow_symlinks=False)
    elif kind == 6:
        os.symlink(random.choice(["a", "/dir/e", "../b"]), path)
    elif kind == 7:
        os.mknod(
            path, random.choice([stat.S_IFIFO, stat.S_IFCHR]) | 0o644, os.makedev(1, random.randrange(1, 9))
        )
    elif kind == 8:
        mode = random.choice([0o4755, 0o600, 0o1777, 0o000])
        if not path.is_symlink():  # which may lead out of the container
            os.chmod(path, mode)
    elif kind == 9:
        os.chown(path, random.randrange(2000), random.randrange(2000), follow_symlinks=False)
    elif kind == 10:
        os.setxattr(path, f"user.{random.choice('abc')}", random.randbytes(9), follow_symlinks=False)
    elif kind == 11:
        moment = random.randrange(1, 2**31) * 1_000_000_000 + random.randrange(1_000_000_000)
        os.utime(path, ns=(moment, moment), follow_symlinks=False)
    elif kind == 12:
        _write(path, b"more", os.O_APPEND)


def _write(path: Path, data: bytes, flags: int) -> None:
    """Write to a file, made if need be, but to no pipe and through no link."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | flags, 0o644)
    with open(fd, "wb") as file:
        file.write(data)


def _folders(root: Path) -> list[Path]:
    return [Path(folder) for folder, _, _ in os.walk(root) if not Path(folder).is_relative_to(root / "bin")]
