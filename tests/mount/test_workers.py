"""Worker threads, where the system has none left."""

import os
import subprocess
import sys

CODE = """
import errno, logging, os, resource
import pyfuse3, trio
from imgfs.mount import MountOptions
from imgfs.mount.operations import Operations
from tests.mount.test_operations import CONTEXT, ROOT, Opening, Recorded
from tests.mount.trees import Folder

logging.basicConfig(format="%(message)s")
operations = Operations(Folder("/", {b"a": Opening("/a", Recorded(b"abc", in_place=False))}), MountOptions())
_, hard = resource.getrlimit(resource.RLIMIT_NPROC)

async def main():
    number = (await operations.lookup(ROOT, b"a", CONTEXT)).st_ino
    resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
    for _ in range(3):
        try:
            await operations.open(number, os.O_RDONLY, CONTEXT)
        except pyfuse3.FUSEError as error:
            print(errno.errorcode[error.errno])
    resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
    info = await operations.open(number, os.O_RDONLY, CONTEXT)
    print(await operations.read(info.fh, 0, 3))

trio.run(main)
"""


def test_without_threads_a_request_is_to_be_made_again_and_others_go_on() -> None:
    """As an ordinary user, whom alone the limit holds."""
    user = {"user": 54321, "group": 54321, "extra_groups": ()} if os.geteuid() == 0 else {}
    command = [sys.executable, "-B", "-c", CODE]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60, **user)  # type: ignore[call-overload]
    assert done.stdout.split("\n") == ["EAGAIN"] * 3 + ["b'abc'", ""], done.stderr
    assert done.stderr.splitlines() == ["/a: can't start new thread"]
