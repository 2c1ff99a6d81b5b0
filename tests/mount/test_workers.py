"""Errors as the kernel and the log get them, and threads where the system has none left."""

import errno
import logging
import os
import subprocess
import sys

import pytest

from imgfs import errors
from imgfs.mount.workers import Failures

ERRORS = [
    (errors.InvalidImage("bad"), errno.EINVAL, "bad"),
    (errors.ImageNotFound("abc"), errno.ENOENT, "No such image: abc"),
    (errors.AmbiguousID("a"), errno.ENOENT, "multiple IDs"),
    (errors.Corrupt("failed to verify"), errno.EIO, "failed to verify"),
    (errors.InUse("used"), errno.EBUSY, "used"),
    (errors.LayerNotFound("no layer abc"), errno.EIO, "no layer abc"),
    (OSError(errno.EACCES, "Permission denied", "/x/blob"), errno.EACCES, "/x/blob: Permission denied"),
    (FileNotFoundError(errno.ENOENT, "No such file", b"/x/\xff"), errno.EIO, "/x/\udcff: No such file"),
    (OSError("no number"), errno.EIO, "no number"),
    (OSError(errno.ENOSYS, "Function not implemented"), errno.EIO, "not implemented"),
    (MemoryError(), errno.EIO, "not enough memory"),
    (RuntimeError("can't start new thread"), errno.EIO, "not enough threads"),
    (ZeroDivisionError("oops"), errno.EIO, "internal error: ZeroDivisionError('oops')"),
]


@pytest.mark.parametrize(("error", "number", "text"), ERRORS)
def test_an_error_is_an_errno_and_one_line_that_names_the_node(
    caplog: pytest.LogCaptureFixture, error: Exception, number: int, text: str
) -> None:
    assert Failures().translate(error, "/images/a").errno == number
    (record,) = caplog.records
    assert record.getMessage().startswith("/images/a: ")
    assert text in record.getMessage()
    assert record.exc_info is None


def test_the_same_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures()
    for name in ("/a", "/a", "/b", "/a"):
        assert failures.translate(errors.Corrupt("bad"), name).errno == errno.EIO
    assert [record.getMessage() for record in caplog.records] == ["/a: bad", "/b: bad"]


def test_a_failure_long_ago_may_be_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    """What is remembered is bounded, whatever an image makes fail."""
    failures = Failures()
    for number in range(5000):
        failures.translate(errors.Corrupt("bad"), f"/{number}")
    failures.translate(errors.Corrupt("bad"), "/0")
    assert len(caplog.records) == 5001


def test_where_an_unexpected_error_happened_is_logged_with_debug(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        Failures().translate(ZeroDivisionError("oops"), "/a")
    assert any(record.exc_info for record in caplog.records)


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
