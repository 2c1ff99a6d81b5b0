"""Options and files, as the configuration combines them."""

import ssl
from pathlib import Path

import pytest

from imgfs.errors import StoreError
from imgfs.registry.configuration import Configuration, Credentials, Endpoint
from imgfs.registry.reference import Repository
from tests.registry.helper_programs import write_helper


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "REGISTRY_AUTH_FILE",
        "XDG_CONFIG_HOME",
        "DOCKER_CONFIG",
        "XDG_RUNTIME_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", "/dev/null")
    return tmp_path


def test_the_command_line_decides_whether_certificates_are_verified(home: Path) -> None:
    repository = Repository("r", "x")
    for said, is_insecure in ((None, False), (True, False), (False, True)):
        (endpoint,) = Configuration.load(tls_verify=said).endpoints(repository, by_digest=False)
        assert endpoint.is_insecure is is_insecure
    conf = home / "conf"
    conf.write_text('[[registry]]\nlocation="r"\ninsecure=true\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
        assert Configuration.load().endpoints(repository, by_digest=False)[0].is_insecure
        assert not Configuration.load(tls_verify=True).endpoints(repository, by_digest=False)[0].is_insecure


def test_credentials_of_the_command_line_go_before_those_of_files(home: Path) -> None:
    path = home / "auth"
    path.write_text('{"auths": {"r": {"username": "file", "password": "1"}}}')
    endpoint = Endpoint("r", "x", False, False)
    assert Configuration.load(authfile=str(path)).credentials(endpoint) == Credentials("file", "1")
    assert Configuration.load(authfile=str(path), creds="me:2").credentials(endpoint) == Credentials(
        "me", "2"
    )
    assert Configuration.load().credentials(endpoint) is None


def test_credentials_of_the_command_line_are_not_for_mirrors(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf, path = home / "conf", home / "auth"
    conf.write_text(
        '[[registry]]\nlocation="r"\n[[registry.mirror]]\nlocation="m"\n[[registry.mirror]]\nlocation="r/copy"\n'
        '[[registry]]\nprefix="moved"\nlocation="r"\n'
    )
    path.write_text('{"auths": {"m": {"username": "mirror", "password": "1"}}}')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    configuration = Configuration.load(authfile=str(path), creds="me:2")

    def names(host: str) -> list[tuple[str, str | None]]:
        endpoints = configuration.endpoints(Repository(host, "x"), by_digest=False)
        found = ((each.host, configuration.credentials(each)) for each in endpoints)
        return [(host, each.username if each is not None else None) for host, each in found]

    assert names("r") == [("m", "mirror"), ("r", "me"), ("r", "me")]
    assert names("moved") == [("r", None)]


def test_a_repository_is_changed_where_its_name_says(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = home / "conf"
    conf.write_text(
        '[[registry]]\nprefix="r"\nlocation="inner"\ninsecure=true\n[[registry.mirror]]\nlocation="m"\n'
        '[[registry]]\nlocation="b"\nblocked=true\n'
    )
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    configuration = Configuration.load()
    assert configuration.push_endpoint(Repository("r", "x")) == Endpoint("r", "x", True, False)
    assert configuration.push_endpoint(Repository("s", "x")) == Endpoint("s", "x", False, False)
    with pytest.raises(StoreError, match="b is blocked in"):
        configuration.push_endpoint(Repository("b", "x"))


def test_files_that_were_named_are_read_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="none: there is no such file"):
        Configuration.load(authfile=str(home / "none"))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "none"))
    with pytest.raises(StoreError, match="none: there is no such file"):
        Configuration.load()
    (home / "auth").write_text("{}")
    assert (
        Configuration.load(authfile=str(home / "auth")).credentials(Endpoint("r", "x", False, False)) is None
    )
    monkeypatch.delenv("REGISTRY_AUTH_FILE")
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(home / "none"))
    with pytest.raises(StoreError, match="none: there is no such file"):
        Configuration.load()


def test_helpers_of_registries_conf_are_asked(
    home: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "conf").write_text('credential-helpers = ["mine"]\n')
    write_helper(programs, "mine", """echo '{"Username": "me", "Secret": "s"}'""")
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(home / "conf"))
    assert Configuration.load().credentials(Endpoint("r", "x", False, False)) == Credentials("me", "s")


def test_a_context_is_made_once_for_a_host(home: Path) -> None:
    configuration = Configuration.load()
    safe, unsafe = Endpoint("r", "x", False, False), Endpoint("r", "x", True, False)
    assert configuration.ssl_context(safe) is configuration.ssl_context(Endpoint("r", "y", False, True))
    assert configuration.ssl_context(safe).verify_mode is ssl.CERT_REQUIRED
    assert configuration.ssl_context(unsafe).verify_mode is ssl.CERT_NONE


def test_a_folder_of_certificates_is_used(home: Path) -> None:
    with pytest.raises(StoreError, match="none: No such file or directory"):
        Configuration.load(cert_dir=str(home / "none")).ssl_context(Endpoint("r", "x", False, False))
    folder = home / ".config/containers/certs.d/r:5000"
    folder.mkdir(parents=True)
    (folder / "me.cert").write_text("nonsense")
    with pytest.raises(StoreError, match=r"its key me\.key is missing"):
        Configuration.load().ssl_context(Endpoint("r:5000", "x", False, False))
    Configuration.load().ssl_context(Endpoint("r", "x", False, False))
