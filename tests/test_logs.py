import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgfs.logs import SkipLog, log_to, log_to_stderr

HOSTILE = b"bad\xff\x1b[31mred\nnext line \xc3\xa9".decode("utf-8", "surrogateescape")
SHOWN = "bad\\udcff\\x1b[31mred\\nnext line é"


@contextmanager
def bare_root() -> Iterator[None]:
    """The root logger without handlers, such as pytest's; as it was, afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


def test_a_message_in_the_file_is_one_line_that_steers_no_terminal(tmp_path: Path) -> None:
    with bare_root():
        log_to(str(tmp_path / "log"))
        logging.getLogger("imgfs").warning("%s: damaged", HOSTILE)
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.endswith(f" WARNING {SHOWN}: damaged")


def test_so_it_is_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with bare_root():
        log_to_stderr(logging.WARNING)
        logging.getLogger("imgfs").warning("%s: damaged", HOSTILE)
        logging.getLogger("imgfs").info("not worth telling")
    assert capsys.readouterr().err == f"imgfs: {SHOWN}: damaged\n"


def test_debugging_shows_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    with bare_root():
        log_to_stderr(logging.DEBUG)
        try:
            _ = 1 / 0
        except ZeroDivisionError as error:
            logging.getLogger("imgfs").debug("where it happened", exc_info=error)
    assert capsys.readouterr().err.startswith("imgfs: where it happened\nTraceback")


def test_what_is_skipped_is_logged_one_by_one_until_it_is_too_much(caplog: pytest.LogCaptureFixture) -> None:
    log = SkipLog("layer", "members")
    for number in range(23):
        log.report(f"{number} is skipped")
    log.finish()
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        *(f"layer: {number} is skipped" for number in range(20)),
        "layer: 3 more members are skipped",
    ]
