"""How many calls of Python a read of rootfs.tar takes, as each of them is paid for at every read."""

import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import FrameType

import imgfs
from imgfs.sources import open_source
from imgfs.view.tars import open_rootfs_tar
from tests.images import TestImage, layer_tar, oci_layout
from tests.indexing import indexing

_MOST_COLD, _MOST_WARM = 66, 11
_PACKAGE = os.path.dirname(imgfs.__file__)
_READ = 128 << 10


def calls(work: Callable[[], object]) -> list[str]:
    """The functions of imgfs that are called in this thread meanwhile."""
    names = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_PACKAGE):
            names.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return names


def test_a_read_passes_each_layer_of_the_code_once(tmp_path: Path) -> None:
    """An image of two layers; the lower one is read, whose ending is looked for, too."""
    tars = [layer_tar({f"file-{n}": os.urandom(400_000) for n in range(8)}) for _ in range(2)]
    image = TestImage(tars, ["image:1"])
    layout = oci_layout(tmp_path / "layout", [image])
    with indexing(tmp_path) as indexer, closing(open_source(str(layout), indexer)) as source:
        with open_rootfs_tar(source.store, image.id, verbatim=False) as tar:
            cold = calls(lambda: tar.pread(_READ, 0))
            assert tar.size == len(image.verbatim)
            tar.pread(_READ, 1 << 20)
            warm = calls(lambda: tar.pread(_READ, 1 << 20))
    assert len(cold) <= _MOST_COLD, cold
    assert len(warm) <= _MOST_WARM, warm
