import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from imgfs.errors import StoreError
from imgfs.registry.tls import tls_context, usual_folder
from tests.tools import require_tool


class Certificates(NamedTuple):
    """An authority of one's own, and a certificate by it for r.example, as files."""

    authority: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """As people make them by hand, without the extensions that Python 3.13 wants to see."""
    folder = tmp_path_factory.mktemp("certificates")
    made = Certificates(folder / "authority", folder / "certificate", folder / "key")
    (folder / "extensions").write_text("subjectAltName=DNS:r.example\nauthorityKeyIdentifier=none\n")
    ca_key, asked = folder / "ca-key", folder / "asked"

    def openssl(*arguments: str | Path) -> None:
        subprocess.run([require_tool("openssl"), *arguments], check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-subj", "/CN=ca", "-keyout", ca_key, "-out", made.authority)
    openssl("req", *new_key, "-subj", "/CN=r", "-keyout", made.key, "-out", asked)
    signed_by = (
        "-CA",
        made.authority,
        "-CAkey",
        ca_key,
        "-CAcreateserial",
        "-extfile",
        folder / "extensions",
    )
    openssl("x509", "-req", "-in", asked, *signed_by, "-out", made.certificate)
    return made


def handshake(client: ssl.SSLContext, certificates: Certificates, *, wants_client: bool = False) -> None:
    """Speak TLS with a server of r.example, which may want to see a certificate. Raises SSLError."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.certificate, certificates.key)
    if wants_client:
        server.verify_mode = ssl.CERT_REQUIRED
        server.load_verify_locations(certificates.authority)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    steps: list[Callable[[], None]] = [
        client.wrap_bio(back, there, server_hostname="r.example").do_handshake,
        server.wrap_bio(there, back, server_side=True).do_handshake,
    ]
    while steps:
        step = steps.pop(0)
        try:
            step()
        except ssl.SSLWantReadError:
            steps.append(step)


def test_an_authority_of_ones_own_is_trusted_beside_those_of_the_system(
    tmp_path: Path, certificates: Certificates
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls_context(None, is_insecure=False), certificates)
    (tmp_path / "ca.crt").write_bytes(certificates.authority.read_bytes())
    (tmp_path / "README").write_text("neither")
    context = tls_context(str(tmp_path), is_insecure=False)
    handshake(context, certificates)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert len(context.get_ca_certs()) == len(tls_context(None, is_insecure=False).get_ca_certs()) + 1


def test_nothing_is_verified_where_that_was_said(certificates: Certificates) -> None:
    handshake(tls_context(None, is_insecure=True), certificates)


def test_a_certificate_of_ones_own_is_shown(tmp_path: Path, certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(tls_context(None, is_insecure=True), certificates, wants_client=True)
    (tmp_path / "me.cert").write_bytes(certificates.certificate.read_bytes())
    (tmp_path / "me.key").write_bytes(certificates.key.read_bytes())
    handshake(tls_context(str(tmp_path), is_insecure=True), certificates, wants_client=True)


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


def test_a_key_with_a_password_is_an_error(tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "me.cert").write_bytes(certificates.certificate.read_bytes())
    subprocess.run(
        [
            require_tool("openssl"),
            *(
                "pkcs8",
                "-topk8",
                "-in",
                certificates.key,
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
