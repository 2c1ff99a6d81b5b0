"""Mounted by a user without rights, by way of fusermount3."""

import os
import subprocess
import sys
from pathlib import Path

from tests.images import TestImage, docker_archive
from tests.ordinary_user import as_user, user_folder
from tests.tools import require_tool

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


def test_an_ordinary_user_can_mount_read_and_unmount(images: list[TestImage]) -> None:
    require_tool("fusermount3")
    with user_folder() as folder:
        docker_archive(folder / "family.tar", images).chmod(0o644)
        command = as_user(folder, [sys.executable, "-c", LOOK])
        environment = os.environ | {
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
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
