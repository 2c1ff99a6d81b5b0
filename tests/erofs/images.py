"""EROFS images made by mkfs.erofs of two Debians, and as the kernel mounts them; random files to be in them."""

import ctypes
import os
import random
import socket
import stat
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from imgfs.blob import Blob
from imgfs.erofs import ErofsImage
from tests.tools import require_folder, require_root, require_tool
from tests.tree.stacks import Facts

_READ_ONLY = 1  # of mount(2)
_TRIXIE = Path(__file__).parents[2] / ".engines/trixie"
_SIZES = (0, 0, 1, 40, 511, 512, 513, 1100, 4095, 4096, 4097, 12_288, 70_000)
_HOLE = 300_000
_CAPABILITY = struct.pack("<5I", 0x02000001, 0x400, 0, 0, 0)


def tool(name: str, suite: str) -> list[str | Path]:
    """The command of a tool of erofs-utils, of this Debian or of the one that engines run in."""
    if suite == "host":
        return [require_tool(name)]
    libraries = require_folder(_TRIXIE / "usr/lib/x86_64-linux-gnu")
    loader = _TRIXIE / "usr/lib64/ld-linux-x86-64.so.2"
    return [loader, "--library-path", libraries, (_TRIXIE / "usr/bin" / name)]


def make_image(image: Path, folder: Path, options: Sequence[str] = (), suite: str = "trixie") -> Path:
    """An image of a folder."""
    subprocess.run([*tool("mkfs.erofs", suite), *options, image, folder], check=True, capture_output=True)
    return image


def make_image_of_tar(image: Path, tar: bytes, options: Sequence[str] = ()) -> Path:
    """An image of a tar, with the options that containerd gives."""
    command = [*tool("mkfs.erofs", "trixie"), "--aufs", "--quiet", *options, image]
    subprocess.run(command, check=True, input=tar, capture_output=True)
    if "--tar=i" in options:
        with image.open("ab") as file:
            file.write(tar)
    return image


def image_facts(blob: Blob) -> Facts:
    """What imgfs reads of an image, its root among it."""
    first_names: dict[int, bytes] = {}
    found: Facts = {}
    image = ErofsImage(blob, "image")
    for name, inode, xattrs, target in sorted(image.files()):
        detail: object = b""
        if stat.S_ISREG(inode.st_mode):
            content = bytearray(inode.st_size)
            for offset, address, length in image.extents(inode, name):
                content[offset : offset + length] = blob.pread(length, address)
            detail = bytes(content)
        elif stat.S_ISLNK(inode.st_mode):
            detail = target
        elif stat.S_ISCHR(inode.st_mode) or stat.S_ISBLK(inode.st_mode):
            detail = (os.major(inode.st_rdev), os.minor(inode.st_rdev))
        found[name] = (
            inode.st_mode,
            inode.st_uid,
            inode.st_gid,
            inode.st_nlink,
            inode.st_mtime_ns,
            detail,
            dict(xattrs),
            first_names.setdefault(inode.st_ino, name),
        )
    return found


@contextmanager
def mounted_file(image: Path, top: Path, devices: Sequence[Path] = ()) -> Iterator[Path]:
    """An image as the kernel shows it, straight from its file: mount(8) would make a loop device of that."""
    require_root()
    top.mkdir(exist_ok=True)
    options = ",".join(f"device={device}" for device in devices)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(image), os.fsencode(top), b"erofs", _READ_ONLY, os.fsencode(options)):
        raise OSError(ctypes.get_errno(), f"mount -t erofs -o {options}")
    try:
        yield top
    finally:
        assert libc.umount2(os.fsencode(top), 0) == 0


@contextmanager
def mounted_image(image: Path, top: Path, kind: str = "erofs") -> Iterator[Path]:
    """An image as the kernel shows it; `kind` is that of its file system."""
    require_root()
    top.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", kind, "-o", "loop,ro", image, top], check=True)
    try:
        yield top
    finally:
        subprocess.run(["umount", top], check=True)


def random_files(top: Path, seed: int, count: int = 120) -> None:
    """Files of every kind with metadata of every kind, the same for the same seed."""
    dice = random.Random(seed)
    top.mkdir()
    folders, files = [top], list[Path]()
    with suppress(OSError):  # a large directory
        for number in range(400):
            (top / f"{'x' * dice.randrange(60)}{number}").touch()
    for number in range(count):
        path = dice.choice(folders) / (f"{number}" + dice.choice(["", "é", "n" * 200, "\udcff", " "]))
        match dice.randrange(9):
            case 0 | 1:
                path.mkdir()
                folders.append(path)
            case 2:
                path.symlink_to(dice.choice(["x", "/" + "long/" * 60, "é" * 700]))
            case 3 if files:
                os.link(dice.choice(files), path)
                continue
            case 4:
                kind = dice.choice([0o010000, 0o020000, 0o060000])
                os.mknod(path, kind | 0o600, os.makedev(dice.randrange(4096), dice.randrange(1 << 20)))
            case 5:
                with path.open("wb") as file:
                    file.seek(_HOLE)
                    file.write(dice.randbytes(dice.choice(_SIZES)))
                    file.truncate(2 * _HOLE)
            case _:
                path.write_bytes(dice.randbytes(dice.choice(_SIZES)))
                files.append(path)
        _decorate(path, dice)
    with socket.socket(socket.AF_UNIX) as made:
        there = os.getcwd()
        os.chdir(top)
        made.bind("socket")
        os.chdir(there)
    for path in [*folders, *files]:
        time = dice.choice([0, 1, 999_999_999, 1_600_000_000_123_456_789, 4_500_000_000_000_000_001])
        os.utime(path, ns=(time, time))


def tar_of_every_kind(folder: Path, seed: int) -> bytes:
    """What GNU tar makes of `random_files` in a new folder."""
    random_files(folder, seed)
    options = "--format=pax --sparse --xattrs --xattrs-include=*"
    command = [require_tool("tar"), *options.split(), "-C", str(folder), "-c", "."]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _decorate(path: Path, dice: random.Random) -> None:
    if not path.is_symlink():
        path.chmod(dice.choice([0o644, 0o4755, 0o1777, 0]))
    os.chown(
        path, dice.choice([0, 1000, 70_000]), dice.choice([0, 65_535, 3_000_000_000]), follow_symlinks=False
    )
    for _ in range(dice.choice([0, 0, 1, 3])):
        name = dice.choice(["trusted.a", "trusted.long.prefix.b", "security.c", "trusted." + "n" * 200])
        value = dice.choice([b"", b"shared", dice.randbytes(dice.choice([3, 400]))])
        with suppress(PermissionError):
            os.setxattr(path, name, value, follow_symlinks=False)
    if not path.is_symlink() and path.is_file() and not dice.randrange(4):
        os.setxattr(path, "security.capability", _CAPABILITY)
        os.setxattr(path, "user.long.prefix.d", b"d")
