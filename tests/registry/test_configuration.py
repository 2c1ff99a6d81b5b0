"""Certificates, proxies and options, as the configuration combines them."""

import ssl
import subprocess
from pathlib import Path

import pytest

from imgfs.errors import StoreError
from imgfs.registry.configuration import Configuration, Credentials, Endpoint
from imgfs.registry.reference import Repository
from imgfs.registry.tls import tls_context, usual_folder


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    folder = tmp_path_factory.mktemp("certificate")
    key, crt = folder / "key", folder / "crt"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=r",
            "-keyout",
            key,
            "-out",
            crt,
        ],
        check=True,
        capture_output=True,
    )
    return crt.read_bytes(), key.read_bytes()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "REGISTRY_AUTH_FILE",
        "XDG_CONFIG_HOME",
        "DOCKER_CONFIG",
        "XDG_RUNTIME_DIR",
        "https_proxy",
        "no_proxy",
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


def test_the_folder_of_a_host_is_found_as_podman_finds_it(home: Path) -> None:
    assert usual_folder("r:5000") is None
    folder = home / ".config/containers/certs.d/r:5000"
    folder.mkdir(parents=True)
    assert usual_folder("r:5000") == str(folder)


def test_certificates_in_the_folder_are_used(tmp_path: Path, certificate: tuple[bytes, bytes]) -> None:
    (tmp_path / "ca.crt").write_bytes(certificate[0])
    (tmp_path / "me.cert").write_bytes(certificate[0])
    (tmp_path / "me.key").write_bytes(certificate[1])
    before = len(tls_context(None, is_insecure=False).get_ca_certs())
    context = tls_context(str(tmp_path), is_insecure=False)
    assert len(context.get_ca_certs()) == before + 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert tls_context(str(tmp_path), is_insecure=True).verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["me.cert"], "me.cert: its key me.key is missing"),
        (["me.key"], "me.key: its certificate me.cert is missing"),
        (["ca.crt"], "ca.crt: cannot be used as a certificate"),
        (["me.cert", "me.key"], "me.cert: cannot be used as a certificate"),
    ],
)
def test_what_is_wrong_in_the_folder_is_an_error_that_names_it(
    tmp_path: Path, names: list[str], why: str
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(StoreError, match=why):
        Configuration.load(cert_dir=str(tmp_path)).ssl_context(Endpoint("r", "x", False, False))
    with pytest.raises(StoreError, match="No such file or directory"):
        Configuration.load(cert_dir=str(tmp_path / "none")).ssl_context(Endpoint("r", "x", False, False))


def test_a_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inner.example,127.0.0.1")
    configuration = Configuration.load()
    assert configuration.proxy("https://r.example/v2/") == "http://proxy.example:3128"
    assert configuration.proxy("https://inner.example/v2/") is None
    assert configuration.proxy("https://127.0.0.1:5000/v2/") is None
    assert configuration.proxy("http://r.example/v2/") is None
