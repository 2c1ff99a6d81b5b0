"""EROFS images of merged trees, against the kernel, which mounts them, erofs-utils, and the reader of imgfs."""

import ctypes
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from imgfs.blob import Blob, MemoryBlob, blob_chunks
from imgfs.erofs import ErofsImage
from imgfs.tree import AssembledBlob, ErofsPlan
from tests.erofs.images import tool
from tests.tools import require_root
from tests.tree.stacks import Entry, Facts, check_same, merged, real_facts, stacks, tar, tree_facts

_READ_ONLY = 1


@contextmanager
def mounted(image: Path, top: Path, devices: Sequence[Path] = ()) -> Iterator[Path]:
    """An image as the kernel shows it, straight from its file: mount(8) would make a loop device of that."""
    top.mkdir()
    options = ",".join(f"device={device}" for device in devices)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(image), os.fsencode(top), b"erofs", _READ_ONLY, os.fsencode(options)):
        raise OSError(ctypes.get_errno(), f"mount -t erofs -o {options}")
    try:
        yield top
    finally:
        assert libc.umount2(os.fsencode(top), 0) == 0


def written(plan: ErofsPlan, layers: Sequence[bytes], work: Path) -> tuple[Path, Path, list[Path]]:
    """The image as one file, and as metadata and devices."""
    with AssembledBlob(plan, lambda number: MemoryBlob(layers[number])) as blob:
        data = b"".join(blob_chunks(blob))
    assert len(data) == plan.size
    with AssembledBlob(plan.metadata, lambda number: MemoryBlob(b"")) as blob:
        metadata = b"".join(blob_chunks(blob))
    whole, alone, devices = work / "whole", work / "alone", []
    whole.write_bytes(data)
    alone.write_bytes(metadata)
    for layer, start, blocks in plan.devices:
        devices.append(work / f"device-{start}")
        content = data[start * 512 : (start + blocks) * 512]
        devices[-1].write_bytes(content if layer is None else layers[layer])
    return whole, alone, devices


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the kernel mounts images from, as it does not from tmpfs."""
    require_root()
    return tmp_path_factory.mktemp("disk")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stacks())
def test_a_random_tree_is_what_the_kernel_shows(disk: Path, stack: list[list[Entry]]) -> None:
    layers = [tar(layer) for layer in stack]
    tree = merged(layers)
    expected = tree_facts(tree, layers)
    with tempfile.TemporaryDirectory(dir=disk) as name:
        work = Path(name)
        for with_layers in (False, True):
            made = work / f"{with_layers}"
            made.mkdir()
            whole, alone, devices = written(ErofsPlan(tree, with_layers=with_layers), layers, made)
            with mounted(whole, made / "top") as top:
                check_same(real_facts(top), expected)
            with mounted(alone, made / "with-devices", devices) as top:
                check_same(real_facts(top), expected)
            done = subprocess.run([*tool("fsck.erofs", "trixie"), whole], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stacks())
def test_a_random_tree_is_what_the_reader_finds(stack: list[list[Entry]]) -> None:
    layers = [tar(layer) for layer in stack]
    tree = merged(layers)
    for with_layers in (False, True):
        plan = ErofsPlan(tree, with_layers=with_layers)
        with AssembledBlob(plan, lambda number: MemoryBlob(layers[number])) as blob:
            check_same(image_facts(blob), tree_facts(tree, layers))


def image_facts(blob: Blob) -> Facts:
    """What the reader says of the files in an image, without the root."""
    image = ErofsImage(blob, "image")
    facts: Facts = {}
    first_names: dict[int, bytes] = {}
    for path, inode, attributes, target in sorted(image.files()):
        detail: object = target
        if stat.S_ISREG(inode.st_mode):
            content = bytearray(inode.st_size)
            for offset, address, length in image.extents(inode, path):
                content[offset : offset + length] = blob.pread(length, address)
            detail = bytes(content)
        elif stat.S_ISCHR(inode.st_mode) or stat.S_ISBLK(inode.st_mode):
            detail = (os.major(inode.st_rdev), os.minor(inode.st_rdev))
        if path:
            facts[path] = (
                inode.st_mode,
                inode.st_uid,
                inode.st_gid,
                inode.st_nlink,
                inode.st_mtime_ns,
                detail,
                dict(attributes),
                first_names.setdefault(inode.st_ino, path),
            )
    return facts
