"""A mount over two sources, one of which lies on a file system that hangs, goes on and then dies."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

import pytest

from imgfs.mount import unmount
from tests.conftest import eventually
from tests.images import TestImage, docker_archive, layer_tar, oci_layout

SOON = 1.0  # seconds; on a machine with nothing else to do it takes a hundredth of that
READERS = 80  # more than a source has threads


class Hanging:
    """Two layouts as sources of one mount at `top`: the images of `hung` lie on a file system that `stop` stops."""

    def __init__(self, folder: Path, good: TestImage, hung: TestImage) -> None:
        self.good, self.hung = good, hung
        self.below, self.top, self.log = folder / "below", folder / "top", folder / "log"
        oci_layout(folder / "good", [good])
        layout = oci_layout(folder / "plain", [hung])
        files = {
            str(path.relative_to(folder)): path.read_bytes() for path in layout.rglob("*") if path.is_file()
        }
        holder = TestImage([layer_tar(dict(files))], ["holder:1"])
        docker_archive(folder / "holder.tar", [holder])
        self.source = self.below / "tags" / "holder:1" / "rootfs" / "plain"
        self._folder = folder
        self._readers: list[Popen[bytes]] = []

    @contextmanager
    def mounted(self) -> Iterator[None]:
        with self._serving(self.below, "below.log", self._folder / "holder.tar") as self._under:
            with self._serving(
                self.top, "log", f"oci:{self.source}", f"oci:{self._folder / 'good'}"
            ) as self.process:
                yield

    @contextmanager
    def _serving(self, top: Path, log: str, *sources: object) -> Iterator["Popen[bytes]"]:
        top.mkdir()
        # without room for decoded copies, which would be read in place of what hangs
        options = ["mount", "-f", "--cache-size", "0"]
        command = [sys.executable, "-m", "imgfs", *options, *map(str, sources), str(top)]
        with (self._folder / log).open("wb") as errors, Popen(command, stdout=PIPE, stderr=errors) as process:
            try:
                assert eventually(lambda: os.path.ismount(top), 30)
                yield process
            finally:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                try:
                    process.wait(20)
                finally:
                    process.kill()
                    if os.path.ismount(top):
                        unmount(str(top), lazy=True)
                    for reader in self._readers:
                        reader.kill()

    def image(self, image: TestImage) -> Path:
        return self.top / "images" / image.id[7:]

    def forget_what_was_read(self) -> None:
        """Make the kernel forget what it has of the files that hang."""
        for path in (self.source / "blobs/sha256").iterdir():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def stop(self) -> None:
        self._under.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._under.send_signal(signal.SIGCONT)

    def die(self) -> None:
        self._under.kill()
        self._under.wait(10)

    def read_hung(self) -> None:
        """Start many that read what hangs, of every kind."""
        image = self.image(self.hung)
        (tar,) = [
            name for name in os.listdir(image / "layers") if name.startswith("01") and name.endswith(".tar")
        ]
        ways = ([f"cat '{image}/layers/{tar}'", f"cat '{image}/rootfs.tar'", f"stat '{image}/flat.tar'",
                 f"ls -lR '{image}'", f"cat '{image}/history'", f"cat '{image}/rootfs/big'"])  # fmt: skip
        for number in range(READERS):
            command = f"exec {ways[number % len(ways)]}"
            self._readers.append(Popen(["sh", "-c", command], stdout=DEVNULL, stderr=DEVNULL))
        time.sleep(0.5)

    def finished(self) -> list[int | None]:
        return [reader.poll() for reader in self._readers]


@pytest.fixture
def hanging(environment: None, tmp_path: Path) -> Iterator[Hanging]:
    big = os.urandom(3_000_000)
    good = TestImage([layer_tar({"etc/name": b"good\n", "big": big})], ["good:1"])
    hung = TestImage([layer_tar({"etc/name": b"hung\n"}), layer_tar({"big": big[::-1]})], ["hung:1"])
    made = Hanging(tmp_path, good, hung)
    with made.mounted():
        yield made


def timed(work: Callable[[], object]) -> float:
    """How long something takes, done by another process, as it may take for ever."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    while time.monotonic() < start + 10:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0
            return time.monotonic() - start
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("it takes for ever")


def look_at_all_that_does_not_hang(hanging: Hanging) -> None:
    """Everything that needs nothing of the source that hangs."""
    top, good, hung = hanging.top, hanging.image(hanging.good), hanging.image(hanging.hung)
    looks: dict[str, Callable[[], object]] = {
        "top": lambda: os.listdir(top),
        "images": lambda: [os.stat(top / "images" / name) for name in os.listdir(top / "images")],
        "tags": lambda: os.listdir(top / "tags"),
        "tag": lambda: os.stat(top / "tags/hung:1"),
        "heads": lambda: os.listdir(top / "heads"),
        "names in the image that hangs": lambda: (os.listdir(hung), os.listdir(hung / "layers")),
        "config that hangs": lambda: (hung / "config.json").read_bytes(),
        "texts": lambda: [(good / name).read_bytes() for name in ("config.json", "history", "tags")],
        "tree": lambda: list(os.walk(good / "rootfs")),
        "file": lambda: (good / "rootfs/etc/name").read_bytes(),
        "big file": lambda: (good / "rootfs/big").read_bytes(),
        "tars": lambda: [(good / name).read_bytes() for name in ("rootfs.tar", "flat.tar")],
        "layers": lambda: [os.stat(good / "layers" / name) for name in os.listdir(good / "layers")],
    }
    took = {name: timed(look) for name, look in looks.items()}
    assert not {name: seconds for name, seconds in took.items() if seconds > SOON}


@pytest.mark.parametrize("warm", [False, True], ids=["never looked at", "looked at before"])
def test_a_source_that_hangs_keeps_only_its_own_readers_waiting(hanging: Hanging, warm: bool) -> None:
    name = hanging.image(hanging.hung) / "rootfs/etc/name"
    if warm:
        assert name.read_bytes() == b"hung\n"
    hanging.stop()
    hanging.read_hung()
    look_at_all_that_does_not_hang(hanging)
    hanging.go_on()
    assert eventually(lambda: None not in hanging.finished(), 60)
    assert set(hanging.finished()) == {0}
    assert name.read_bytes() == b"hung\n"


def test_a_source_that_dies_is_eio_for_its_own_alone(hanging: Hanging) -> None:
    hanging.stop()
    hanging.read_hung()
    hanging.die()
    assert eventually(lambda: None not in hanging.finished(), 60)
    look_at_all_that_does_not_hang(hanging)
    for path in ("rootfs/etc/name", "rootfs.tar", "flat.tar"):
        with pytest.raises(OSError, match="Input/output error"):
            (hanging.image(hanging.hung) / path).read_bytes()
    lines = hanging.log.read_text().splitlines()
    assert len(lines) == 1, "\n".join(lines)
    assert re.search("not connected|connection abort", lines[0])


def test_a_change_to_another_source_is_seen_while_one_hangs(
    hanging: Hanging, tmp_path: Path, images: list[TestImage]
) -> None:
    hanging.stop()
    time.sleep(0.6)  # its poll hangs by now
    more = oci_layout(tmp_path / "more", [hanging.good, images[0]])
    for path in (more / "blobs/sha256").iterdir():
        path.rename(tmp_path / "good/blobs/sha256" / path.name)
    (more / "index.json").rename(tmp_path / "good/index.json")
    assert eventually(lambda: images[0].id[7:] in os.listdir(hanging.top / "images"))


@pytest.mark.parametrize("how", ["signal", "unmount"])
def test_a_source_that_hangs_keeps_the_mount_from_ending_for_no_longer_than_some_seconds(
    hanging: Hanging, how: str
) -> None:
    fd = os.open(hanging.image(hanging.hung) / "rootfs.tar", os.O_RDONLY)
    hanging.stop()
    time.sleep(0.6)
    if how == "signal":
        hanging.read_hung()
        hanging.process.terminate()
    else:
        os.close(fd)
        subprocess.run(["umount", hanging.top], check=True, timeout=10)
    assert hanging.process.wait(10) == 0
    assert not os.path.ismount(hanging.top)
    hanging.go_on()
    if how == "signal":
        os.close(fd)


def test_read_ahead_that_hangs_leaves_the_kernel_room_for_that_of_other_sources(hanging: Hanging) -> None:
    """What was opened before still has the kernel read ahead, of which it allows only so much at a time."""
    good = os.open(hanging.image(hanging.good) / "rootfs.tar", os.O_RDONLY)
    stuck = [os.open(hanging.image(hanging.hung) / "rootfs.tar", os.O_RDONLY) for _ in range(40)]
    size = os.fstat(good).st_size
    hanging.forget_what_was_read()
    hanging.stop()
    readers = []
    for number, fd in enumerate(stuck):
        place = f"skip={number * size // len(stuck) // 4096}"
        readers.append(Popen(["dd", "bs=4k", "count=16", place], stdin=fd, stdout=DEVNULL, stderr=DEVNULL))
    time.sleep(0.5)
    assert [reader.poll() for reader in readers].count(None) > 20
    assert timed(lambda: os.pread(good, size, 0)) < SOON
    hanging.go_on()
    assert {reader.wait(30) for reader in readers} == {0}
    for fd in (good, *stuck):
        os.close(fd)
