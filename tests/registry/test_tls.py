import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imgfs.errors import StoreError
from imgfs.registry.tls import tls_context, usual_folder
from tests.registry.serving import Certificates, certificates
from tests.tools import require_tool


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


def handshake(client: ssl.SSLContext, made: Certificates, *, wants_client: bool = False) -> None:
    """Speak TLS with a server of 127.0.0.1, which may want to see a certificate. Raises SSLError."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate, made.key)
    if wants_client:
        server.verify_mode = ssl.CERT_REQUIRED
        server.load_verify_locations(made.authority)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    steps: list[Callable[[], None]] = [
        client.wrap_bio(back, there, server_hostname="127.0.0.1").do_handshake,
        server.wrap_bio(there, back, server_side=True).do_handshake,
    ]
    while steps:
        step = steps.pop(0)
        try:
            step()
        except ssl.SSLWantReadError:
            steps.append(step)


def test_an_authority_of_ones_own_is_trusted_beside_those_of_the_system(
    tmp_path: Path, made: Certificates
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls_context(None, is_insecure=False), made)
    (tmp_path / "ca.crt").write_bytes(made.authority.read_bytes())
    (tmp_path / "README").write_text("neither")
    context = tls_context(str(tmp_path), is_insecure=False)
    handshake(context, made)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert len(context.get_ca_certs()) == len(tls_context(None, is_insecure=False).get_ca_certs()) + 1


def test_nothing_is_verified_where_that_was_said(made: Certificates) -> None:
    handshake(tls_context(None, is_insecure=True), made)


def test_a_certificate_of_ones_own_is_shown(tmp_path: Path, made: Certificates) -> None:
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(tls_context(None, is_insecure=True), made, wants_client=True)
    (tmp_path / "me.cert").write_bytes(made.certificate.read_bytes())
    (tmp_path / "me.key").write_bytes(made.key.read_bytes())
    handshake(tls_context(str(tmp_path), is_insecure=True), made, wants_client=True)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["me.cert"], "me.cert: its key me.key is missing"),
        (["me.key"], "me.key: its certificate me.cert is missing"),
        (["ca.crt"], "ca.crt: cannot be used as a certificate: "),
        (["me.cert", "me.key"], "me.cert: cannot be used as a certificate: "),
    ],
)
def test_what_is_wrong_in_the_folder_is_an_error_that_names_it(
    tmp_path: Path, names: list[str], why: str
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(StoreError) as raised:
        tls_context(str(tmp_path), is_insecure=False)
    assert str(raised.value).startswith(f"{tmp_path}/{why}")


def test_a_key_with_a_password_is_an_error(tmp_path: Path, made: Certificates) -> None:
    (tmp_path / "me.cert").write_bytes(made.certificate.read_bytes())
    subprocess.run(
        [
            require_tool("openssl"),
            *(
                "pkcs8",
                "-topk8",
                "-in",
                made.key,
                "-passout",
                "pass:secret",
                "-out",
                tmp_path / "me.key",
            ),
        ],
        check=True,
    )
    with pytest.raises(StoreError, match="cannot be used as a certificate: the key has a password"):
        tls_context(str(tmp_path), is_insecure=False)


def test_the_folder_of_a_host_is_found_as_podman_finds_it(tmp_path: Path) -> None:
    system = tmp_path / "etc"
    environment = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "nowhere")}
    found = [usual_folder("r:5000", environment, str(system))]
    for top in (system / "docker", system / "containers", tmp_path / ".config/containers"):
        (top / "certs.d/r:5000").mkdir(parents=True)
        found.append(usual_folder("r:5000", environment, str(system)))
    assert found == [
        None,
        f"{system}/docker/certs.d/r:5000",
        f"{system}/containers/certs.d/r:5000",
        f"{tmp_path}/.config/containers/certs.d/r:5000",
    ]
    assert usual_folder("r", environment, str(system)) is None


def test_a_folder_that_may_not_be_read_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".config/containers/certs.d/r"
    folder.mkdir(parents=True)
    assert usual_folder("r", {"HOME": str(tmp_path)}) == str(folder)
    monkeypatch.setattr("os.access", lambda path, mode: path != str(folder))
    assert usual_folder("r", {"HOME": str(tmp_path)}) is None
