"""Files of configuration mean what they mean to skopeo: which credentials it sends, and where it asks, in order."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from imgfs.errors import StoreError
from imgfs.registry.configuration import Configuration
from imgfs.registry.reference import Repository
from tests.registry.helper_programs import write_helper
from tests.tools import require_tool

ME = "127.0.0.1:PORT"
"""In files: the registry that says what it is asked."""


class Asked:
    """A registry that has nothing, and wants to know who asks."""

    def __init__(self) -> None:
        self.users: list[str] = []
        self.repositories: list[str] = []
        asked = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                header = self.headers.get("Authorization", "")
                user = base64.b64decode(header.removeprefix("Basic ")).decode()
                if user not in ("", ":"):  # as skopeo says that it knows none
                    asked.users.append(user)
                if "/manifests/" in self.path:
                    asked.repositories.append(self.path.removeprefix("/v2/").partition("/manifests/")[0])
                self.send_response(401 if self.path == "/v2/" else 404)
                self.send_header("WWW-Authenticate", 'Basic realm="r"')
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def registry() -> Iterator[Asked]:
    asked = Asked()
    thread = Thread(target=asked.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield asked
    asked.server.shutdown()
    thread.join()
    asked.server.server_close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Path) -> Path:
    for name in list(os.environ):
        if name.startswith(("XDG_", "DOCKER_", "REGISTR", "CONTAINERS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    write_helper(
        programs, "mine", """read -r s; echo "{\\"Username\\": \\"helper\\", \\"Secret\\": \\"$s\\"}\""""
    )
    write_helper(programs, "empty", "echo credentials not found in native keychain; exit 1")
    return tmp_path


def write(home: Path, files: dict[str, object], host: str) -> None:
    for name, content in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text.replace(ME, host))


def skopeo(registry: Asked, *arguments: str) -> tuple[list[str], list[str]]:
    """What skopeo is told of who asks, each once, and the repositories that it asks for, in order."""
    registry.users.clear()
    registry.repositories.clear()
    subprocess.run([require_tool("skopeo"), *arguments], capture_output=True, timeout=20, check=False)
    return list(dict.fromkeys(registry.users)), list(dict.fromkeys(registry.repositories))


def auth(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


RUN, CONFIG, DOCKER, OLD = (
    "run/containers/auth.json",
    ".config/containers/auth.json",
    ".docker/config.json",
    ".dockercfg",
)
FIRST = {RUN: {"auths": {ME: auth("run:1")}}}


@pytest.mark.parametrize(
    ("files", "environment"),
    [
        ({OLD: {ME: auth("old:1")}}, {}),
        ({OLD: {f"https://{ME}/v1/": auth("old:1")}}, {}),
        ({OLD: {ME: auth("old:1")}, DOCKER: {"auths": {ME: auth("docker:1")}}}, {}),
        ({DOCKER: {"auths": {f"https://{ME}/v2/": auth("docker:1")}}, CONFIG: {"auths": {"r": auth("no:1")}}}, {}),
        ({CONFIG: {"auths": {ME: auth("config:1")}}, DOCKER: {"auths": {ME: auth("docker:1")}}}, {}),
        ({**FIRST, CONFIG: {"auths": {f"{ME}/team": auth("config:1")}}}, {}),
        ({"x/containers/auth.json": {"auths": {ME: auth("x:1")}}}, {"XDG_CONFIG_HOME": "x"}),
        ({**FIRST, "x/config.json": {"auths": {f"{ME}/team": auth("x:1")}}}, {"DOCKER_CONFIG": "x"}),
        ({"x/config.json": {"auths": {ME: auth("x:1")}}}, {"DOCKER_CONFIG": "x"}),
        ({**FIRST, "only": {"auths": {}}}, {"REGISTRY_AUTH_FILE": "only"}),
        ({**FIRST, "only": {"auths": {ME: auth("only:1")}}}, {"REGISTRY_AUTH_FILE": "only"}),
        ({RUN: {"auths": {ME: auth("a:1"), f"{ME}/team": auth("b:1"), f"{ME}/team/app": auth("c:1")}}}, {}),
        ({RUN: {"auths": {ME: auth("a:1"), f"{ME}/team": auth("b:1"), f"{ME}/team/other": auth("c:1")}}}, {}),
        ({RUN: {"auths": {ME: auth("a:1"), f"{ME}/tea": auth("b:1"), f"http://{ME}": auth("c:1")}}}, {}),
        ({RUN: {"auths": {ME: {}}}, CONFIG: {"auths": {ME: auth("config:1")}}}, {}),
        ({RUN: {"auths": {ME: auth("a:b:c\0\0")}}}, {}),
        ({RUN: {"auths": {ME: auth("a:1")}, "credHelpers": {ME: "mine"}}}, {}),
        ({RUN: {"auths": {ME: auth("a:1")}, "credHelpers": {ME: "empty"}}, CONFIG: {"auths": {ME: auth("b:1")}}}, {}),
        ({RUN: {"auths": {ME: auth("a:1")}, "credHelpers": {f"{ME}/team": "mine"}}}, {}),
        ({**FIRST, ".config/containers/registries.conf": 'credential-helpers=["mine"]'}, {}),
        ({**FIRST, ".config/containers/registries.conf": 'credential-helpers=["empty", "containers-auth.json"]'}, {}),
        ({**FIRST, ".config/containers/registries.conf": "credential-helpers=[]"}, {}),
    ],
)  # fmt: skip
def test_credentials_are_those_that_skopeo_sends(
    registry: Asked,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, object],
    environment: dict[str, str],
) -> None:
    write(home, files, registry.host)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(home / value))
    theirs, _ = skopeo(
        registry, "inspect", "--raw", "--tls-verify=false", f"docker://{registry.host}/team/app:1"
    )
    configuration = Configuration.load()
    (endpoint,) = configuration.endpoints(Repository(registry.host, "team/app"), by_digest=False)
    found = configuration.credentials(endpoint)
    assert [f"{found.username}:{found.password}" for _ in (found,) if found is not None] == theirs


def tables(*more: str, **primary: object) -> str:
    """A registry, and mirrors of it in the same place, with names by their number."""
    lines = [
        "[[registry]]",
        *(f"{key.replace('_', '-')} = {json.dumps(value)}" for key, value in primary.items()),
    ]
    for number, text in enumerate(more):
        lines += ["[[registry.mirror]]", f'location = "{ME}/m{number}"', "insecure = true", text]
    return "\n".join(lines) + "\n"


R = {"prefix": "r.example", "location": f"{ME}/r", "insecure": True}
TEAM = {"prefix": "r.example/team", "location": f"{ME}/t", "insecure": True}
DIGEST = f"@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("conf", "name"),
    [
        (tables(**R), "r.example/team/app:1"),
        (tables("", "", **R), "r.example/team/app:1"),
        (tables(**R) + tables("", **TEAM), "r.example/team/app:1"),
        (tables(**R) + tables("", **TEAM), "r.example/team"),
        (tables(**R) + tables("", **TEAM), "r.example/teams/app:1"),
        (tables("", **R, mirror_by_digest_only=True), "r.example/app:1"),
        (tables("", **R, mirror_by_digest_only=True), f"r.example/app{DIGEST}"),
        (tables('pull-from-mirror="digest-only"', 'pull-from-mirror="tag-only"', "", **R), "r.example/app:1"),
        (tables('pull-from-mirror="digest-only"', 'pull-from-mirror="tag-only"', "", **R), f"r.example/app{DIGEST}"),
        (tables(**R | {"prefix": "*.example"}), "r.example/app:1"),
        (tables("", **R | {"prefix": "*.example"}), "a.r.example/app:1"),
        (tables(**R | {"prefix": "*.r.example"}) + tables(**TEAM | {"prefix": "*.example"}), "a.r.example/app:1"),
        (tables("", location=ME, insecure=True, blocked=True), f"{ME}/app:1"),
        (tables("", **R) + tables(location=f"{ME}/m0", blocked=True), "r.example/app:1"),
        (tables("", **R) + tables(location=f"{ME}/r", blocked=True, insecure=True), "r.example/app:1"),
        (tables(**R) + tables("", **R), "r.example/app:1"),
        (tables("", location=ME, insecure=True), f"{ME}/app:1"),
        (f'[registries.insecure]\nregistries=["{ME}"]\n', f"{ME}/app:1"),
        (f'[registries.insecure]\nregistries=["{ME}"]\n[registries.block]\nregistries=["{ME}"]\n', f"{ME}/app:1"),
        (tables(prefix="r.example", location=f"http://{ME}"), "r.example/app:1"),
        (tables(prefix="*.example/x", location=ME), "r.example/app:1"),
        (tables(prefix="r.example"), "r.example/app:1"),
        (tables('pull-from-mirror="never"', **R), "r.example/app:1"),
        (tables('pull-from-mirror="all"', **R, mirror_by_digest_only=True), "r.example/app:1"),
    ],
)  # fmt: skip
def test_places_are_those_that_skopeo_asks(
    registry: Asked, home: Path, monkeypatch: pytest.MonkeyPatch, conf: str, name: str
) -> None:
    write(home, {"conf": conf, RUN: {"auths": {ME: auth("me:1")}}}, registry.host)
    name = name.replace(ME, registry.host)
    _, theirs = skopeo(
        registry, "--registries-conf", str(home / "conf"), "inspect", "--raw", f"docker://{name}"
    )
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(home / "conf"))
    host, _, path = name.removesuffix(":1").removesuffix(DIGEST).partition("/")
    assert asked_by_us(Repository(host, path), by_digest="@" in name) == theirs


def asked_by_us(repository: Repository, *, by_digest: bool) -> Sequence[str]:
    with suppress(StoreError):
        endpoints = Configuration.load().endpoints(repository, by_digest=by_digest)
        assert all(endpoint.is_insecure for endpoint in endpoints)
        return [endpoint.path for endpoint in endpoints]
    return []


@pytest.mark.parametrize("name", ["registries.conf", "registries.conf.d/1.conf"])
def test_files_of_the_user_are_those_that_skopeo_reads(registry: Asked, home: Path, name: str) -> None:
    first, second = tables(**R), tables(**R | {"location": f"{ME}/second"})
    for folder, text in (("x", first), (".config", second)):
        write(home, {f"{folder}/containers/{name}": text, RUN: {"auths": {ME: auth("me:1")}}}, registry.host)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CONFIG_HOME", str(home / "x"))
            _, theirs = skopeo(registry, "inspect", "--raw", "docker://r.example/app:1")
            (endpoint,) = Configuration.load().endpoints(Repository("r.example", "app"), by_digest=False)
        ours = [endpoint.path] if endpoint.host == registry.host else []
        assert ours == theirs
