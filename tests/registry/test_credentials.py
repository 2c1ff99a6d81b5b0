import base64
import errno
import json
import os
from pathlib import Path
from typing import NoReturn

import pytest

from imgfs.errors import StoreError
from imgfs.registry.account import Credentials
from imgfs.registry.credentials import AuthFile, CredentialStore, given_credentials, usual_files
from tests.registry.helper_programs import write_helper


def auth(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


def store(path: Path, content: object, *, is_bare: bool = False) -> CredentialStore:
    path.write_text(json.dumps(content))
    return CredentialStore([AuthFile(str(path), is_bare=is_bare)])


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
    assert store(tmp_path / "auth", {"auths": {key: {}}}).find(host, "x") is None
    bare = store(tmp_path / "bare", {key: auth("me:secret")}, is_bare=True)
    assert bare.find(host, "x") == Credentials("me", "secret")


def test_an_identity_token_and_padding_are_read(tmp_path: Path) -> None:
    entry = auth("me:") | {"identitytoken": "token"}
    assert store(tmp_path / "1", {"auths": {"r": entry}}).find("r", "x") == Credentials("me", "", "token")
    assert store(tmp_path / "2", {"auths": {"r": auth("me:a:b\0\0")}}).find("r", "x") == Credentials(
        "me", "a:b"
    )


def script(name: str) -> str:
    """What a helper runs that knows every server by its name."""
    return f'read -r server; echo "{{\\"Username\\": \\"{name}\\", \\"Secret\\": \\"$server\\"}}"'


def test_a_helper_of_a_host_goes_before_entries_and_the_store_after(tmp_path: Path, programs: Path) -> None:
    write_helper(programs, "one", script("one"))
    write_helper(programs, "all", script("<token>"))
    content = {
        "auths": {"r": auth("entry:1"), "s": auth("entry:2")},
        "credHelpers": {"r": "one"},
        "credsStore": "all",
    }
    found = store(tmp_path / "auth", content)
    assert found.find("r", "x") == Credentials("one", "r")
    assert found.find("s", "x") == Credentials("entry", "2")
    assert found.find("docker.io", "x") == Credentials("", "", "https://index.docker.io/v1/")


def test_a_helper_that_has_nothing_leaves_the_next_file_to_say(tmp_path: Path, programs: Path) -> None:
    write_helper(programs, "one", "echo credentials not found in native keychain; exit 1")
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(json.dumps({"credHelpers": {"r": "one"}, "auths": {"r": auth("passed:over")}}))
    second.write_text(json.dumps({"auths": {"r": auth("me:1")}}))
    found = CredentialStore([AuthFile(str(first)), AuthFile(str(second))])
    assert found.find("r", "x") == Credentials("me", "1")


@pytest.mark.parametrize("key", ["docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"])
def test_helpers_know_docker_hub_by_any_of_its_names(tmp_path: Path, programs: Path, key: str) -> None:
    write_helper(programs, "hub", script("hub"))
    found = store(tmp_path / "auth", {"credHelpers": {key: "hub"}})
    assert found.find("docker.io", "x") == Credentials("hub", "https://index.docker.io/v1/")
    write_helper(
        programs, "hub", f'read -r server; test "$server" = docker.io || exit 1\n{script("hub")} < /dev/null'
    )
    assert found.find("docker.io", "x") == Credentials("hub", "")


def test_helpers_are_asked_in_the_order_of_registries_conf(tmp_path: Path, programs: Path) -> None:
    write_helper(programs, "all", script("all"))
    path = tmp_path / "auth"
    path.write_text(json.dumps({"auths": {"r": auth("file:1")}}))
    files = [AuthFile(str(path))]
    assert CredentialStore(files, ["all", "containers-auth.json"]).find("r", "x") == Credentials("all", "r")
    after = CredentialStore(files, ["containers-auth.json", "all"])
    assert after.find("r", "x") == Credentials("file", "1")
    assert after.find("s", "x") == Credentials("all", "s")
    assert CredentialStore(files, ["missing"]).find("r", "x") is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not a JSON file with credentials"),
        ("[]", "not a JSON file with credentials"),
        ('{"auths": ["secret"]}', "not a JSON file with credentials"),
        ('{"auths": {"r": "secret"}}', "not a JSON file with credentials"),
        ('{"auths": {"r": {"auth": 5}}}', "not a JSON file with credentials"),
        ('{"credHelpers": {"r": []}}', "not a JSON file with credentials"),
        ('{"auths": ' * 100_000, "not a JSON file with credentials"),
        ('{"auths": {"r": {"auth": "!!!secret"}}}', "the auth of the entry for r is not base64"),
        ('{"auths": {"r": {"auth": "c2VjcmV0"}}}', "the auth of the entry for r has no colon"),
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
    with pytest.raises(StoreError, match="there is no such file"):
        CredentialStore([AuthFile(str(tmp_path / "none"), is_required=True)]).find("r", "x")
    with pytest.raises(StoreError, match="a directory, not a file"):
        CredentialStore([AuthFile(str(tmp_path))]).find("r", "x")


def test_what_a_user_may_not_read_is_an_error_unless_it_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a user without XDG_RUNTIME_DIR where /run/containers is the administrator's."""

    def refuse(*_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    there, out_of_reach = tmp_path / "auth", tmp_path / "below/auth"
    there.write_text("{}")
    monkeypatch.setattr("imgfs.registry.user_file.open", refuse, raising=False)
    assert CredentialStore([AuthFile(str(out_of_reach))]).find("r", "x") is None
    for path, is_required in ((there, False), (there, True), (out_of_reach, True)):
        with pytest.raises(StoreError, match=f"^{path}: Permission denied$"):
            CredentialStore([AuthFile(str(path), is_required)]).find("r", "x")


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as file:
        json.dump({"auths": {"r": auth("me:1")}}, file)
    found = CredentialStore([AuthFile(f"/dev/fd/{reading}", is_required=True)])
    for _ in range(2):
        assert found.find("r", "x") == Credentials("me", "1")
    os.close(reading)
    assert found.find("r", "x") == Credentials("me", "1")


def test_a_file_is_read_again_each_time(tmp_path: Path) -> None:
    found = store(tmp_path / "auth", {"auths": {"r": auth("me:1")}})
    assert found.find("r", "x") == Credentials("me", "1")
    store(tmp_path / "auth", {"auths": {"r": auth("me:2")}})
    assert found.find("r", "x") == Credentials("me", "2")


def test_an_empty_file_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "auth").write_text("")
    assert CredentialStore([AuthFile(str(tmp_path / "auth"))]).find("r", "x") is None


def test_secrets_are_not_in_what_python_prints() -> None:
    given = given_credentials("me:sec:ret")
    assert given == Credentials("me", "sec:ret")
    assert "sec" not in repr(given)
    assert "tok" not in repr(Credentials("", "", "tok"))
    for text in ("", ":secret"):
        with pytest.raises(StoreError, match="there is no USER"):
            given_credentials(text)
