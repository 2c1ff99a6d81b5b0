"""Layers unpacked as Docker unpacks them for overlay2, and mounted with the kernel's overlayfs: what a container sees.

Source: moby, pkg/archive (`Unpack`, `createTarFile`, `overlayWhiteoutConverter`); `tests/engines` holds it against a
real Docker. Written with tarfile and system calls, in a child process whose root is the layer's directory.
"""

import ctypes
import io
import os
import pickle
import posixpath
import stat
import tarfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.tree.stacks import Entry, Facts, tar

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
_XATTR = "SCHILY.xattr."


def unpacked(stack: Sequence[Sequence[Entry]], work: Path) -> list[bytes]:
    """Unpack layers into `work`, each into a folder called by its number; returns the layers as tars.

    Members that Docker refuses are in neither.
    """
    for number in range(len(stack)):
        (work / str(number)).mkdir()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        result: object = None
        try:
            os.umask(0o022)
            result = [_accepted(layer, work / str(number)) for number, layer in enumerate(stack)]
        except Exception:
            result = traceback.format_exc()
        finally:
            with open(writer, "wb") as pipe:
                pickle.dump(result, pipe)
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        result = pickle.load(pipe)
    os.waitpid(child, 0)
    assert isinstance(result, list), result
    return result


@contextmanager
def mounted(stack: Sequence[object], work: Path) -> Iterator[Path]:
    """The layers that were unpacked into `work`, as the kernel shows them."""
    folders = [str(work / str(number)) for number in reversed(range(len(stack)))]
    with lower_layers_mounted(folders, work / "mounted") as top:
        yield top


@contextmanager
def lower_layers_mounted(folders: Sequence[str], work: Path) -> Iterator[Path]:
    """Unpacked layers, the topmost first, as a container sees them; `work` is a new folder."""
    for name in ("top", "upper", "work"):
        (work / name).mkdir(parents=True)
    options = f"lowerdir={':'.join(folders)},upperdir={work / 'upper'},workdir={work / 'work'}"
    libc, top = ctypes.CDLL(None, use_errno=True), str(work / "top").encode()
    if libc.mount(b"overlay", top, b"overlay", 0, options.encode()):
        raise OSError(ctypes.get_errno(), f"mount -t overlay -o {options}")
    try:
        yield work / "top"
    finally:
        assert libc.umount2(top, 0) == 0


def _accepted(layer: Sequence[Entry], folder: Path) -> bytes:
    """Unpack a layer, again and again until nothing is refused that is left of it; returns its tar."""
    kept = list(layer)
    outside = os.open("/", os.O_PATH)
    os.chroot(folder)
    os.chdir("/")
    try:
        while (refused := _unpack(tar(kept))) is not None:
            del kept[refused]
            for name in os.listdir("/"):
                _remove(f"/{name}")
            with suppress(OSError):
                os.removexattr("/", "trusted.overlay.opaque")
    finally:
        os.fchdir(outside)
        os.chroot(".")
        os.close(outside)
    return tar(kept)


def _unpack(data: bytes) -> int | None:
    times: dict[str, int] = {}
    implied: dict[str, int] = {}
    seen: set[str] = set()
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        for number, member in enumerate(archive):
            path = posixpath.normpath(f"/{member.name}").replace("//", "/")
            if path in seen:
                return number  # tar-split takes no path twice
            seen.add(path)
            try:
                _one(archive, member, path, times, implied)
            except OSError:
                return number
    for path, time in (implied | times).items():
        os.utime(path, ns=(time, time))
    return None


def _one(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    path: str,
    times: dict[str, int],
    implied: dict[str, int],
) -> None:
    time = _time(member)
    parent, name = posixpath.split(path)
    if not os.path.lexists(parent):
        there = parent
        while not os.path.lexists(there):
            # they get the time of the first member below, where Docker leaves the time of unpacking
            implied[os.path.realpath(there)] = time
            there = posixpath.dirname(there)
        os.makedirs(parent, 0o777)
    if path == "/":
        return
    if os.path.lexists(path):
        if not (member.isdir() and stat.S_ISDIR(os.lstat(path).st_mode)):
            _remove(path)
            for gone in [of for of in (*times, *implied) if not os.path.isdir(of)]:
                times.pop(gone, None)
                implied.pop(gone, None)
        elif os.path.realpath(path) in times:
            raise FileExistsError(path)  # the same directory again by another name
    if name == OPAQUE:
        if not os.path.isdir(parent):
            raise NotADirectoryError(parent)  # of what this layer hides: Docker marks the whiteout
        os.setxattr(parent, "trusted.overlay.opaque", b"y")
        return
    if name.startswith(WHITEOUT):
        hidden = posixpath.join(parent, name.removeprefix(WHITEOUT))
        os.mknod(hidden, stat.S_IFCHR, 0)
        return
    _make(archive, member, path)
    os.lchown(path, member.uid, member.gid)
    for key, value in member.pax_headers.items():
        if key.startswith(_XATTR):
            data = value.encode("utf-8", "surrogateescape")
            os.setxattr(path, key.removeprefix(_XATTR), data, follow_symlinks=False)
    if member.isdir():
        times[os.path.realpath(path)] = time
    if member.islnk() and os.path.islink(posixpath.join("/", member.linkname)):
        return
    if not member.issym():
        os.chmod(path, member.mode)
    os.utime(path, ns=(time, time), follow_symlinks=False)


def _make(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    if member.isdir():
        if not os.path.lexists(path):
            os.mkdir(path)
    elif member.isfile():
        content = archive.extractfile(member)
        assert content is not None
        Path(path).write_bytes(content.read())
    elif member.issym():
        os.symlink(member.linkname, path)
    elif member.islnk():
        os.link(posixpath.normpath(f"/{member.linkname}"), path, follow_symlinks=False)
    elif member.isfifo():
        os.mkfifo(path)
    else:
        os.mknod(path, stat.S_IFCHR, os.makedev(member.devmajor, member.devminor))


def _remove(path: str) -> None:
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        return
    for name in os.listdir(path):
        _remove(posixpath.join(path, name))
    os.rmdir(path)


def _time(member: tarfile.TarInfo) -> int:
    """The exact time, of which tarfile makes a float."""
    seconds, _, fraction = member.pax_headers.get("mtime", str(int(member.mtime))).partition(".")
    return int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)


def compared(facts: Facts) -> dict[bytes, tuple[object, ...]]:
    """Facts without the numbers of links: overlayfs says those of the layer's directory."""
    return {path: (*of[:3], *of[4:]) for path, of in facts.items()}
