"""The kernel keeps names for good, so that paths cost no requests, and forgets them as soon as they are gone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount, eventually
from tests.images import TestImage

SOON = 1.0  # seconds


@contextmanager
def in_front(source: str | Path, top: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The daemon of a mount that runs in front."""
    top.mkdir()
    command = [sys.executable, "-m", "imgfs", "mount", "-f", str(source), str(top)]
    with subprocess.Popen(command) as daemon:
        try:
            assert eventually(lambda: os.path.ismount(top))
            yield daemon
        finally:
            daemon.send_signal(signal.SIGCONT)
            daemon.terminate()


def test_absolute_paths_ask_nothing_once_they_are_known(
    environment: None, archive: Path, images: list[TestImage], tmp_path: Path
) -> None:
    top = tmp_path / "mnt"
    with in_front(archive, top) as daemon:
        folder = top / "images" / images[1].id[7:]
        paths = [folder / "rootfs/etc/passwd", folder / "rootfs/data", folder / "children", top / "heads"]
        command = ["stat", "-c", "%s", *map(str, paths)]
        before = subprocess.run(command, capture_output=True, check=True).stdout
        daemon.send_signal(signal.SIGSTOP)  # from here on, a question would have no answer
        assert subprocess.run(command, capture_output=True, check=True, timeout=10).stdout == before


def test_names_that_are_gone_are_gone_soon_for_those_who_hold_walk_and_open(
    mount: Mount, imgfs: Imgfs, archive: Path, images: list[TestImage]
) -> None:
    _, child, grandchild = images
    unexpected: list[BaseException] = []
    done = threading.Event()

    def walk(top: Path) -> None:
        while not done.is_set():
            try:
                for folder, _, files in os.walk(top):
                    for name in files:
                        if not name.endswith(".tar"):
                            os.stat(os.path.join(folder, name))
                (top / "tags/example/grandchild:1/config.json").read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                pass
            except BaseException as error:  # reported at the end
                unexpected.append(error)

    with mount("imgfs:") as top:
        walkers = [threading.Thread(target=walk, args=(top,)) for _ in range(3)]
        for walker in walkers:
            walker.start()
        folder = top / "images" / grandchild.id[7:]
        names = [
            folder / "config.json",
            top / "tags/example/grandchild:1",
            top / "heads" / grandchild.id[7:],
            top / "images" / child.id[7:] / "children" / grandchild.id[7:],
            top / "images" / grandchild.id[7:19],
        ]
        try:
            for _ in range(4):
                imgfs("load", archive)
                assert eventually(lambda: all(os.path.lexists(name) for name in names), SOON), names
                assert eventually(lambda: not os.path.lexists(top / "heads" / child.id[7:]), SOON)
                held = (folder / "rootfs/data/file-0001").open("rb")
                imgfs("rm", grandchild.id)
                end = time.monotonic() + SOON
                for name in names:
                    assert eventually(lambda: not os.path.lexists(name), end - time.monotonic()), name  # noqa: B023
                assert os.path.lexists(top / "heads" / child.id[7:])
                assert not eventually(lambda: any(os.path.lexists(name) for name in names), 0.3), "back"
                with held:
                    assert held.read() == b"1" * 300
        finally:
            done.set()
            for walker in walkers:
                walker.join()
    assert unexpected == []


def test_a_name_that_moves_leads_to_its_new_image_at_once(
    mount: Mount, imgfs: Imgfs, archive: Path, images: list[TestImage]
) -> None:
    imgfs("load", archive)
    with mount("imgfs:") as top:
        link = top / "tags/moving:1"
        for image in (images[0], images[1], images[0]):
            imgfs("tag", image.id, "moving:1")
            assert eventually(
                lambda: link.exists() and (link / "config.json").read_bytes() == image.config,  # noqa: B023
                SOON,
            )
        imgfs("tag", images[0].id, "moving/below:1")
        imgfs("rm", "moving:1")
        assert eventually(lambda: not link.exists() and (top / "tags/moving/below:1").exists(), SOON)


@pytest.mark.parametrize(("options", "is_shown"), [("noxattr", False), ("", True)])
def test_extended_attributes_are_shown_unless_that_is_declined(
    mount: Mount, imgfs: Imgfs, tmp_path: Path, options: str, is_shown: bool
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/name").touch()
    os.setxattr(tmp_path / "files/name", "user.note", b"note")
    imgfs("import", tmp_path / "files", "-t", "noted:1")
    with mount("imgfs:", options=options) as top:
        path = top / "tags/noted:1/rootfs/name"
        if is_shown:
            assert os.listxattr(path) == ["user.note"]
        else:
            with pytest.raises(OSError, match="not supported"):
                os.listxattr(path)
