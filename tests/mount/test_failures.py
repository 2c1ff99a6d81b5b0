import errno
import logging

import pytest

from imgfs import errors
from imgfs.mount.failures import Failures

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


def test_where_an_unexpected_error_happened_is_shown_to_who_debugs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        Failures().translate(ZeroDivisionError("oops"), "/a")
    assert any(record.exc_info for record in caplog.records)
