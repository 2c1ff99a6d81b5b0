"""Images that hold what hurts, as build contexts from which each engine builds for itself.

`context` writes one; its Dockerfile makes a family when it is built up to each of `STAGES` in turn: each stage
is the next one's parent. `base_tar` alone is what `docker import` takes.
"""

import io
import os
import random
import shutil
import struct
import tarfile
from pathlib import Path

from tests.tools import require_tool

BIG_FILE = "big/data"
BIG_SIZE = (8 << 20) + 12_345
LONG_NAME = "long/" + "n" * 150
LONG_PATH = "/".join(["deep", *(f"{number:02}" + "d" * 60 for number in range(6)), "file"])
NOT_UTF8 = b"names/caf\xe9-\xff"

# VFS_CAP_REVISION_2 with CAP_NET_RAW permitted and effective; linux/capability.h
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)

STAGES = ("base", "changed", "labelled", "top")
"""The names of the family's images, oldest first. `labelled` has no layer of its own beyond `changed`'s."""

_FIRST = r"""
set -e
mkdir -p /made /made/sub /opaque
ln /bin/busybox /made/sub/busybox-link
ln /links/one /made/three
cp /bin/busybox /made/setuid && chmod 4755 /made/setuid
mkfifo /made/fifo
mknod /made/null c 1 3 || true
rm /remove/me
rm -r /remove/tree
rm -r /opaque && mkdir /opaque && echo new > /opaque/new
mkdir /rename && mv /links/one /rename/one
dd if=/dev/zero of=/made/sparse bs=1 count=1 seek=3000000
chmod 600 /plain/0001
ln -s /etc/passwd /made/absolute
ln -s ../../../../etc /made/outside
"""

_SECOND = r"""
set -e
rm /opaque/new
rm -r /names
echo again > /made/sub/again
mkdir -p /zz && dd if=/dev/zero of=/zz/zeros bs=1000 count=77
"""


def base_tar() -> bytes:
    """The bottom of the family: a busybox, and every kind of member and of name."""
    rng = random.Random(5)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("bin", "links", "links/far", "names", "long", "plain", "big", "opaque", "tmp"):
            _add(archive, name, kind=tarfile.DIRTYPE, mode=0o755)
        _add(archive, "remove", kind=tarfile.DIRTYPE, mode=0o755)
        _add(archive, "bin/busybox", Path(require_tool("busybox")).read_bytes(), mode=0o755)
        _add(archive, "links/one", b"one and two\n")
        _add(archive, "links/far/two", kind=tarfile.LNKTYPE, link="links/one")
        _add(archive, "links/dangling", kind=tarfile.SYMTYPE, link="nowhere")
        _add(archive, "bin/capable", b"#!/bin/busybox sh\n", mode=0o755, capability=CAPABILITY)
        _add(archive, "bin/setuid", b"#!/bin/busybox sh\n", mode=0o4755)
        _add(archive, "bin/setgid", b"#!/bin/busybox sh\n", mode=0o2755)
        _add(archive, "tmp/fifo", kind=tarfile.FIFOTYPE)
        _add(archive, "tmp/zero", kind=tarfile.CHRTYPE, device=(1, 5))
        _add(archive, "tmp/loop", kind=tarfile.BLKTYPE, device=(7, 0))
        _add(archive, LONG_NAME, b"a long name\n")
        _add(archive, LONG_PATH, b"a long path\n")
        _add(archive, os.fsdecode(NOT_UTF8), b"not UTF-8\n")
        _add(archive, "names/sp ace\ttab\nline", b"white space\n")
        _add(archive, "names/\N{SNOWMAN}", b"snow\n")
        _add(archive, "opaque/old", b"hidden later\n")
        _add(archive, "remove/me", b"removed later\n")
        _add(archive, "remove/tree/leaf", b"removed later\n")
        _add(archive, "empty", b"")
        _add(archive, BIG_FILE, rng.randbytes(BIG_SIZE), mode=0o600)
        for number in range(40):
            _add(archive, f"plain/{number:04}", rng.randbytes(rng.randrange(3000)))
        _add(archive, "last-zeros", b"then zeros" + bytes(3_000))
    return buffer.getvalue()


def context(folder: Path) -> Path:
    """A build context in `folder`, which is made; answers it. Its Dockerfile builds the whole family."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.tar").write_bytes(base_tar())
    (folder / "copied").mkdir(exist_ok=True)
    (folder / "copied" / "inside").write_bytes(b"copied\n")
    shutil.copy(require_tool("busybox"), folder / "busybox")
    (folder / "Dockerfile").write_text(dockerfile(STAGES[-1]))
    return folder


def dockerfile(stage: str) -> str:
    """The Dockerfile of the family up to one of STAGES."""
    lines = ["FROM scratch", "ADD base.tar /"]
    if stage in STAGES[1:]:
        lines += ["COPY copied /copied", _run(_FIRST)]
    if stage in STAGES[2:]:
        lines += ["LABEL only=metadata", 'ENV EMPTY="a layer"']
    if stage in STAGES[3:]:
        lines += [_run(_SECOND), 'CMD ["/bin/busybox", "sh"]']
    return "\n".join(lines) + "\n"


def _run(script: str) -> str:
    line = "; ".join(script.strip().splitlines())
    return f'RUN ["/bin/busybox", "sh", "-c", "/bin/busybox --install -s /bin; {line}"]'


def _add(
    archive: tarfile.TarFile,
    name: str,
    content: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    link: str = "",
    device: tuple[int, int] = (0, 0),
    capability: bytes = b"",
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size = kind, mode, link, len(content)
    info.devmajor, info.devminor = device
    info.mtime = 1_700_000_000
    if capability:
        info.pax_headers = {"SCHILY.xattr.security.capability": capability.decode("ascii")}
    archive.addfile(info, io.BytesIO(content))
