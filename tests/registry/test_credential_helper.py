import json
import logging
from pathlib import Path

import pytest

from imgfs.registry.account import Credentials
from imgfs.registry.credential_helper import CredentialHelper
from tests.registry.helper_programs import write_helper


def test_a_helper_is_asked_again_at_each_call(programs: Path, tmp_path: Path) -> None:
    count = tmp_path / "count"
    write_helper(
        programs,
        "counts",
        f"""test "$1" = get && test "$(cat)" = r || exit 1
echo >> {count}; echo "{{\\"Username\\": \\"me\\", \\"Secret\\": \\"$(wc -l < {count})\\"}}\"""",
    )
    helper = CredentialHelper("counts")
    assert helper.get("r") == Credentials("me", "1")
    assert helper.get("r") == Credentials("me", "2")


@pytest.mark.parametrize(
    ("answer", "credentials"),
    [
        ({"Username": "<token>", "Secret": "t"}, Credentials("", "", "t")),
        ({"ServerURL": "r", "Username": "me", "Secret": "s"}, Credentials("me", "s")),
        ({}, None),
    ],
)
def test_what_a_helper_writes_is_read(
    programs: Path, answer: dict[str, str], credentials: Credentials | None
) -> None:
    write_helper(programs, "good", f"echo '{json.dumps(answer)}'")
    assert CredentialHelper("good").get("r") == credentials


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo credentials not found in native keychain; exit 1", ""),
        ("echo secret; exit 1", "exit status 1"),
        ("echo secret", "what it writes is not JSON"),
        ("sleep 60", "it does not end within 0.5 s"),
        ("exec /nowhere 2> /dev/null", "exit status 127"),
    ],
)
def test_a_helper_that_has_nothing_is_passed_over(
    programs: Path, caplog: pytest.LogCaptureFixture, script: str, why: str
) -> None:
    write_helper(programs, "odd", script)
    odd = CredentialHelper("odd", patience=0.5)
    with caplog.at_level(logging.DEBUG):
        assert odd.get("r") is None
        assert odd.get("r") is None
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ([f"docker-credential-odd: {why}; going on without it"] if why else [])


def test_a_helper_that_is_missing_or_badly_named_is_logged(
    programs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert CredentialHelper("missing").get("r") is None
    assert CredentialHelper("../../bin/sh").get("r") is None
    assert "No such file or directory" in caplog.text
    assert "not the name of a program" in caplog.text
