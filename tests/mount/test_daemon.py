"""Going to the background, tried by processes of their own, since the forked one does not come back."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import eventually

PREAMBLE = """
import logging, os, sys, time
from pathlib import Path
from imgfs.errors import ImgfsError, MountError
from imgfs.mount import background
logging.basicConfig(format="imgfs: %(message)s")
out, log = sys.argv[1:]

def start(ready):
    {body}

try:
    background(start, log or None)
except MountError as error:
    sys.exit(f"refused: {{error}}")
print("in front again")
"""


def _popen(tmp_path: Path, body: str, log: str = "") -> "subprocess.Popen[str]":
    code = PREAMBLE.format(body=body)
    command = [sys.executable, "-c", code, str(tmp_path / "out"), log]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _run(tmp_path: Path, body: str, log: str = "") -> tuple[str, str]:
    """What is printed on standard output and on standard error, by both processes."""
    with _popen(tmp_path, body, log) as process:
        return process.communicate(timeout=60)


def test_it_returns_once_all_is_ready_and_the_rest_goes_on_behind(tmp_path: Path) -> None:
    body = (
        "ready(); [time.sleep(0.01) for _ in iter(Path(out + '.go on').exists, True)];"
        " Path(out).write_text('done')"
    )
    assert _run(tmp_path, body) == ("in front again\n", "")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out.go on").touch()
    assert eventually((tmp_path / "out").exists)


def test_who_interrupts_it_stops_the_child_too(tmp_path: Path) -> None:
    body = "Path(out).write_text(str(os.getpid())); time.sleep(600)"
    with _popen(tmp_path, body) as process:
        assert eventually(lambda: (tmp_path / "out").exists() and bool((tmp_path / "out").read_text()))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert not Path("/proc", (tmp_path / "out").read_text()).exists()


def test_the_process_behind_holds_no_terminal_and_no_folder(tmp_path: Path) -> None:
    body = (
        "ready(); Path(out).write_text(f'{os.getsid(0) == os.getpid()} {os.getcwd()}"
        ' {[os.readlink(f"/proc/self/fd/{n}") for n in range(3)]}\')'
    )
    _run(tmp_path, body)
    assert eventually((tmp_path / "out").exists)
    assert (tmp_path / "out").read_text() == "True / ['/dev/null', '/dev/null', '/dev/null']"


def test_why_it_did_not_start_is_an_error_in_front(tmp_path: Path) -> None:
    for body, message in (
        ("raise ImgfsError('no such thing')", "no such thing"),
        ("open('/nonexistent/file')", "/nonexistent/file: No such file or directory"),
        ("1 / 0", "internal error: ZeroDivisionError('division by zero')"),
        ("os._exit(3)", "the background process died"),
        ("return", "the background process died"),
    ):
        assert _run(tmp_path, body) == ("", f"refused: {message}\n")


def test_a_log_file_that_cannot_be_written_is_an_error_in_front(tmp_path: Path) -> None:
    _, stderr = _run(tmp_path, "ready()", log="/nonexistent/log")
    assert stderr == "refused: /nonexistent/log: No such file or directory\n"


def test_once_in_the_background_messages_go_to_the_log_file_only(tmp_path: Path) -> None:
    log = tmp_path / "log"
    body = "logging.warning('before'); ready(); logging.warning('after'); raise ImgfsError('broken')"
    assert _run(tmp_path, body, str(log)) == ("in front again\n", "imgfs: before\n")
    assert eventually(lambda: log.read_text().count("\n") == 3)
    texts = [line.split(maxsplit=3)[2:] for line in log.read_text().splitlines()]
    assert texts == [["WARNING", "before"], ["WARNING", "after"], ["ERROR", "broken"]]


def test_it_gives_up_if_its_parent_is_gone_by_then(tmp_path: Path) -> None:
    """Ctrl-C while a large source is being opened must not leave a mount behind."""
    out = tmp_path / "out"
    body = (
        "Path(out).write_text(f'{os.getpid()}\\n'); os.read(0, 1); ready(); Path(out).write_text('went on')"
    )
    command = [sys.executable, "-c", PREAMBLE.format(body=body), str(out), ""]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert eventually(lambda: out.exists() and out.read_text().endswith("\n"))
        behind = out.read_text().strip()
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        _, stderr = process.communicate("go on", timeout=60)
    assert stderr == ""
    assert eventually(lambda: _ended(behind))
    assert out.read_text().strip() == behind


def _ended(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
