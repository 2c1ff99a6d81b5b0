"""The registry of the distribution project, run for a test."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tools import require_tool


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens at."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as free:
        return int(free.getsockname()[1])


@contextmanager
def docker_registry(
    folder: Path,
    host: str = "127.0.0.1",
    port: int | None = None,
    command: Sequence[str] = (),
    **configuration: Any,
) -> Iterator[str]:
    """A registry that keeps what it has in `folder`; its `HOST:PORT`. `command` runs it elsewhere than here."""
    port = port or free_port(host)
    address = f"{f'[{host}]' if ':' in host else host}:{port}"
    folder.mkdir(parents=True, exist_ok=True)
    storage = {"filesystem": {"rootdirectory": str(folder / "storage")}} | configuration.pop("storage", {})
    http = {"addr": address} | configuration.pop("http", {})
    document = {"version": 0.1, "storage": storage, "http": http, **configuration}
    (folder / "config.yml").write_text(json.dumps(document))
    program = command or [require_tool("docker-registry")]
    with (folder / "log").open("ab") as log:
        serving = subprocess.Popen([*program, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        for _ in range(200):
            if _is_listening(serving.pid, port):
                break
            time.sleep(0.05)
        yield address
    finally:
        serving.kill()
        serving.wait()


def _is_listening(pid: int, port: int) -> bool:
    """Whether something listens at a port of the host that a process is in, which may be a network namespace."""
    sockets = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    return any(
        local.endswith(f":{port:04X}") and state == "0A"
        for line in "".join(sockets).splitlines()
        for _, local, _, state, *_ in [line.split()]
    )


@dataclass(frozen=True)
class Certificates:
    """A folder with the certificate of an authority, `ca.crt`, and that of a server with its key, in PEM."""

    folder: Path
    authority: Path
    certificate: Path
    key: Path


def certificates(folder: Path, host: str = "127.0.0.1") -> Certificates:
    """An authority of our own, and a server's certificate by it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificates(folder, folder / "ca.crt", folder / "server.pem", folder / "server.key")

    def openssl(*arguments: object) -> None:
        subprocess.run(
            [require_tool("openssl"), *map(str, arguments)], check=True, capture_output=True, cwd=folder
        )

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(*new, "-x509", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", made.authority)
    openssl(*new, "-subj", "/CN=server", "-keyout", made.key, "-out", "server.csr")
    (folder / "names").write_text(f"subjectAltName=IP:{host}\n")
    by = ("-CA", made.authority, "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *by, "-out", made.certificate)
    return made


def htpasswd(path: Path, user: str, password: str) -> dict[str, Any]:
    """A file with a user, and the part of a registry's configuration that makes it ask for that."""
    command = [require_tool("htpasswd"), "-nbB", user, password]
    path.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return {"htpasswd": {"realm": "test", "path": str(path)}}
