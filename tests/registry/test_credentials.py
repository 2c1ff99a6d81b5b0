import base64
import json
import logging
import stat
from pathlib import Path

import pytest

from imgfs.errors import StoreError
from imgfs.registry.account import Credentials
from imgfs.registry.credential_helper import CredentialHelper
from imgfs.registry.credentials import AuthFile, CredentialStore, given_credentials, usual_files


def auth(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


def store(path: Path, content: object, *, is_bare: bool = False) -> CredentialStore:
    path.write_text(json.dumps(content))
    return CredentialStore([AuthFile(str(path), is_bare=is_bare)])


def helper(folder: Path, name: str, script: str) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_the_files_are_those_of_podman_and_docker_in_their_order(tmp_path: Path) -> None:
    environment = {"HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert [file.path for file in usual_files(environment)] == [
        "/run/user/7/containers/auth.json",
        "/home/me/.config/containers/auth.json",
        "/home/me/.docker/config.json",
        "/home/me/.dockercfg",
    ]
    moved = environment | {"XDG_CONFIG_HOME": "/c", "DOCKER_CONFIG": "/d"}
    assert [file.path for file in usual_files(moved)][1:3] == ["/c/containers/auth.json", "/d/config.json"]
    assert [file.path for file in usual_files(environment | {"REGISTRY_AUTH_FILE": "/x"})] == ["/x"]


def test_the_first_file_with_an_entry_is_used(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(json.dumps({"auths": {"a.example": auth("one:1"), "c.example": {}}}))
    second.write_text(
        json.dumps({"auths": {host: auth("two:2") for host in ("a.example", "b.example", "c.example")}})
    )
    files = [AuthFile(str(tmp_path / "none")), AuthFile(str(first)), AuthFile(str(second))]
    found = CredentialStore(files)
    assert found.find("a.example", "x") == Credentials("one", "1")
    assert found.find("b.example", "x") == Credentials("two", "2")
    assert found.find("c.example", "x") == Credentials("two", "2")  # {} is only a marker
    assert found.find("d.example", "x") is None


def test_the_longest_namespace_is_used(tmp_path: Path) -> None:
    hosts = {"r:5": auth("host:1"), "r:5/a": auth("space:2"), "r:5/a/b": auth("repository:3")}
    found = store(tmp_path / "auth", {"auths": hosts})
    assert found.find("r:5", "a/b") == Credentials("repository", "3")
    assert found.find("r:5", "a/c") == Credentials("space", "2")
    assert found.find("r:5", "ab") == Credentials("host", "1")
    assert found.find("r", "a") is None


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://r.example/v2/", "r.example"),
        ("http://r.example", "r.example"),
    ],
)
def test_keys_are_read_as_docker_writes_them(tmp_path: Path, key: str, host: str) -> None:
    assert store(tmp_path / "auth", {"auths": {key: auth("me:secret")}}).find(host, "x") == Credentials(
        "me", "secret"
    )
    bare = store(tmp_path / "bare", {key: auth("me:secret")}, is_bare=True)
    assert bare.find(host, "x") == Credentials("me", "secret")


def test_an_identity_token_and_padding_are_read(tmp_path: Path) -> None:
    entry = auth("me:") | {"identitytoken": "token"}
    assert store(tmp_path / "1", {"auths": {"r": entry}}).find("r", "x") == Credentials("", "", "token")
    assert store(tmp_path / "2", {"auths": {"r": auth("me:a:b\0\0")}}).find("r", "x") == Credentials(
        "me", "a:b"
    )


def test_a_helper_of_a_host_goes_before_entries_and_the_store_after(tmp_path: Path, programs: Path) -> None:
    helper(programs, "one", 'read -r server; echo "{\\"Username\\": \\"one\\", \\"Secret\\": \\"$server\\"}"')
    helper(
        programs, "all", 'read -r server; echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"$server\\"}"'
    )
    content = {
        "auths": {"r": auth("entry:1"), "s": auth("entry:2")},
        "credHelpers": {"r": "one"},
        "credsStore": "all",
    }
    found = store(tmp_path / "auth", content)
    assert found.find("r", "x") == Credentials("one", "r")
    assert found.find("s", "x") == Credentials("entry", "2")
    assert found.find("docker.io", "x") == Credentials("", "", "https://index.docker.io/v1/")


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
    helper(programs, "odd", script)
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


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not a JSON file with credentials"),
        ("[]", "not a JSON file with credentials"),
        ('{"auths": {"r": {"auth": "!!!secret"}}}', "whose auth is not base64"),
        ('{"auths": {"r": {"auth": "c2VjcmV0"}}}', "whose auth has no colon"),
        (" " * (9 << 20), "too large"),
    ],
)
def test_a_file_that_is_wrong_is_an_error_that_names_it(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "auth"
    path.write_text(content)
    with pytest.raises(StoreError) as raised:
        CredentialStore([AuthFile(str(path))]).find("r", "x")
    assert str(raised.value).startswith(f"{path}: ")
    assert why in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such file with credentials"):
        CredentialStore([AuthFile(str(tmp_path / "none"), is_required=True)]).find("r", "x")
    with pytest.raises(StoreError, match="directory"):
        CredentialStore([AuthFile(str(tmp_path))]).find("r", "x")


def test_an_empty_file_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "auth").write_text("")
    assert CredentialStore([AuthFile(str(tmp_path / "auth"))]).find("r", "x") is None


def test_secrets_are_not_in_what_python_prints() -> None:
    given = given_credentials("me:sec:ret")
    assert given == Credentials("me", "sec:ret")
    assert "sec" not in repr(given)
    assert "tok" not in repr(Credentials("", "", "tok"))
