"""Mounted by a user without rights, by way of fusermount3."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import TestImage, docker_archive
from tests.tools import require_tool

# As root, the test becomes a user with no rights. In a mount namespace of its own, where everybody may open
# /dev/fuse, as on an ordinary machine; reading whatever is there, as only its owner may be able to read the checkout.
NOBODY = """
set -e
mkdir "$1/dev" && mount -t tmpfs none "$1/dev" && mknod -m 666 "$1/dev/fuse" c 10 229
mount --bind "$1/dev/fuse" /dev/fuse
[ ! -e /etc/fuse.conf ] || mount --bind /dev/null /etc/fuse.conf
cd "$1" && shift
exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_read_search \
    --ambient-caps=+dac_read_search "$@"
"""

LOOK = """
import errno, os, subprocess, sys

def imgfs(*arguments):
    done = subprocess.run([sys.executable, "-m", "imgfs", *arguments], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr

def number(work, *arguments):
    try:
        work(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]

assert os.geteuid() != 0
os.mkdir("mnt")
os.mkdir("other")
print(imgfs("mount", "-o", "allow_other", "family.tar", "other"))
if os.path.ismount("other"):  # this machine lets users do that
    imgfs("umount", "other")
print(imgfs("mount", "family.tar", "/proc"))
assert imgfs("mount", "family.tar", "mnt") == (0, "")
assert imgfs("mount", "-o", "tar=verbatim", "family.tar", "other") == (0, "")
for name in sorted(os.listdir("mnt/images")):
    folder = f"mnt/images/{name}"
    assert os.stat(folder).st_uid == os.getuid()
    config, tar = f"{folder}/config.json", f"{folder}/rootfs.tar"
    print(name, len(open(config, "rb").read()), len(open(tar, "rb").read()))
    print({number(*change) for change in (
        (os.mkdir, f"{folder}/x"), (os.rmdir, f"{folder}/children"), (os.unlink, config),
        (os.rename, config, f"{folder}/x"), (os.chmod, config, 0o777), (os.chown, config, os.getuid(), -1),
        (os.utime, config), (os.truncate, config, 0), (os.open, config, os.O_RDWR),
        (os.open, f"{folder}/x", os.O_CREAT), (os.link, config, f"{folder}/x"), (os.symlink, "x", f"{folder}/x"),
        (os.mkfifo, f"{folder}/x"), (os.setxattr, config, "user.x", b""), (os.removexattr, config, "user.x"),
    )})
assert imgfs("umount", "mnt") == (0, "")
subprocess.run(["fusermount3", "-u", "other"], check=True)
assert not os.path.ismount("mnt") and not os.path.ismount("other")
print(imgfs("umount", "mnt")[0])
"""


@pytest.fixture
def user_folder() -> Iterator[Path]:
    """A folder that a user without rights may write, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() == 0:
            os.chown(name, 65534, 65534)
        yield Path(name)


def test_an_ordinary_user_can_mount_read_and_unmount(user_folder: Path, images: list[TestImage]) -> None:
    require_tool("fusermount3")
    docker_archive(user_folder / "family.tar", images).chmod(0o644)
    command = [sys.executable, "-c", LOOK]
    if os.geteuid() == 0:
        command = ["unshare", "--mount", "sh", "-c", NOBODY, "sh", str(user_folder), *command]
    environment = os.environ | {
        "XDG_DATA_HOME": str(user_folder / "data"),
        "XDG_CACHE_HOME": str(user_folder / "cache"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        command, cwd=user_folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    refused, busy, *looks, again = done.stdout.splitlines()
    if os.geteuid() == 0:
        assert "only allowed if 'user_allow_other' is set in /etc/fuse.conf" in refused
    assert busy == repr((32, "imgfs: /proc: busy, something is mounted there already\n"))
    assert looks[::2] == [
        f"{image.id[7:]} {len(image.config)} {len(image.verbatim)}"
        for image in sorted(images, key=lambda image: image.id)
    ]
    assert set(looks[1::2]) == {"{'EROFS'}"}
    assert again == "32"
