"""The store of a user of rootless Podman, as that user, another one and root read it."""

import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount
from tests.engines.engine import run
from tests.engines.machine import Machine, machine
from tests.engines.test_rootfs import extracted
from tests.forking import Forks
from tests.images import TestImage, docker_archive
from tests.tree.stacks import Entry, Facts, check_same, merged, real_facts, tar, tree_facts

OWNER, OTHER, SUBORDINATE = 4321, 65534, 200_000
RUN = f"/run/user/{OWNER}"
FILE, DIRECTORY = tarfile.REGTYPE, tarfile.DIRTYPE
LAYERS = [
    tar(
        [
            Entry("mine", FILE, "of the user", mode=0o600),
            Entry("private", FILE, "of another one", mode=0o600, owner=7),
            Entry("d", DIRECTORY, mode=0o700, owner=7),
            Entry("d/file", FILE, "x", owner=7),
        ]
    ),
    tar([Entry("top", FILE, "t")]),
]
IMAGE, OPEN = TestImage(LAYERS, ["localhost/mixed:1"]), TestImage(LAYERS[1:], ["localhost/open:1"])
CHANGES = """
cd $(podman mount changed)
rm top
rm -r d
mkdir d
echo 1 > d/new
echo 2 > of9
chown 9:9 of9
chmod 600 of9
chown 3:4 mine
"""

AsUser = Callable[..., tuple[str, str]]


@dataclass(frozen=True)
class Rootless:
    """A user's home directory with a store, in which there are two images and containers of one, `changed` and `same`.

    It is on a disk that has the files that say who has which IDs.
    """

    home: Path
    inside: Machine

    @property
    def source(self) -> str:
        return f"containers-storage:{self.home}/.local/share/containers/storage"

    def podman(self, *arguments: str | Path) -> str:
        user = ("setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups")
        environment = (
            "env",
            "--unset=XDG_DATA_HOME",
            "-C",
            "/",
            f"HOME={self.home}",
            f"XDG_RUNTIME_DIR={RUN}",
            "STORAGE_DRIVER=overlay",
        )
        return run(*self.inside.line(*user, *environment, "podman", *arguments))


@pytest.fixture(scope="module")
def rootless(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rootless]:
    with machine(suite) as inside:
        disk = Path(run(*inside.line("mktemp", "-d", "/tmp/imgfs-XXXXXX")))
        home = disk / "home"
        made = Rootless(home, inside)
        made_user = (
            f"useradd -u {OWNER} -d {home} -M u; install -d -o {OWNER} /run/user {RUN}; "
            f"chmod 711 {disk}; install -d -o {OWNER} {home}"
        )
        subordinate = f"for of in uid gid; do echo u:{SUBORDINATE}:65536 > /etc/sub$of; done"
        copied = f"mkdir {disk}/etc; cp /etc/passwd /etc/subuid /etc/subgid {disk}/etc"
        run(*inside.line("sh", "-ec", f"{made_user}; {subordinate}; {copied}"))
        archive = docker_archive(home / "images.tar", [IMAGE, OPEN])
        archive.chmod(0o644)
        try:
            made.podman("load", "-q", "-i", archive)
            made.podman("create", "--network=none", "--name=changed", IMAGE.tags[0], "/x")
            made.podman("create", "--network=none", "--name=same", IMAGE.tags[0], "/x")
            made.podman("unshare", "sh", "-ec", CHANGES)
            yield made
        finally:
            run("rm", "-rf", "--one-file-system", disk)


@pytest.fixture
def as_user(rootless: Rootless, forks: Forks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsUser:
    """Runs the command as one of the users: `as_user(OWNER, "ls", status=0)`; returns what it prints, and errors."""

    def start(user: int, *arguments: str, status: int = 0) -> tuple[str, str]:
        monkeypatch.setenv("HOME", str(rootless.home if user == OWNER else tmp_path))
        done = forks.run(arguments, b"", 120, user)
        assert b"Traceback" not in done.stderr
        assert done.returncode == status, done.stderr
        return done.stdout.decode(), done.stderr.decode()

    return start


def test_the_user_reads_what_the_user_owns_and_of_the_rest_it_is_said_how(as_user: AsUser) -> None:
    name = f"containers-storage:{IMAGE.tags[0]}"
    listed = as_user(OWNER, "ls", "-l", f"{name}:/")[0].splitlines()
    assert [line.split()[2::5] for line in listed] == [
        ["7", "d"],
        ["0", "mine"],
        ["7", "private"],
        ["0", "top"],
    ]
    assert as_user(OWNER, "cat", f"{name}:/mine") == ("of the user", "")
    assert as_user(OWNER, "cat", f"containers-storage:{OPEN.tags[0]}:/top") == ("t", "")
    shown, error = as_user(OWNER, "cat", f"{name}:/private", status=1)
    assert (shown, error.count("\n")) == ("", 1), error
    assert "file 'private' cannot be read: Permission denied" in error
    assert "(in a store of rootless Podman: podman unshare " in error
    for arguments in (["export", name], ["save", name], ["cp", f"{name}:/private", "-"]):
        _, error = as_user(OWNER, *arguments, status=1)
        assert "(in a store of rootless Podman: podman unshare " in error
    _, error = as_user(OWNER, "save", "-o", "/root/x", f"containers-storage:{OPEN.tags[0]}", status=1)
    assert error.endswith("Permission denied\n")
    verified = as_user(OWNER, "verify", "containers-storage:", status=1)[0].splitlines()
    (bad,) = [line for line in verified if line.startswith("BAD")]
    assert "file 'private' cannot be read: Permission denied" in bad


@pytest.mark.parametrize("command", ["ls", "drift"])
def test_of_a_container_with_files_that_the_user_may_not_read_it_is_said_how(
    as_user: AsUser, command: str
) -> None:
    term = {"ls": "containers-storage:changed:/", "drift": "containers-storage:changed"}[command]
    shown, error = as_user(OWNER, command, term, status={"ls": 1, "drift": 2}[command])
    assert (shown, error.count("\n")) == ("", 1), error
    assert "/diff/mine: Permission denied (in a store of rootless Podman: podman unshare " in error


@pytest.mark.parametrize("command", ["ls", "ps"])
def test_another_user_reads_nothing_and_is_told_so(rootless: Rootless, as_user: AsUser, command: str) -> None:
    shown, error = as_user(OTHER, command, rootless.source, status=1)
    assert not shown
    *_, why = error.splitlines()  # behind that nothing can be kept in a cache
    assert f"{rootless.source.partition(':')[2]}: Permission denied (as root: sudo " in why


def test_root_reads_all_as_it_is_in_the_image(rootless: Rootless, mount: Mount) -> None:
    with mount(rootless.source) as top:
        folder = top / "images" / IMAGE.id[7:]
        check_same(real_facts(folder / "rootfs"), tree_facts(merged(LAYERS), LAYERS))
        assert b"".join(each.read_bytes() for each in sorted(folder.glob("layers/*.tar"))) == IMAGE.verbatim
        changed = top / "containers/by-name/changed/rootfs"
        assert sorted(real_facts(changed)) == [b"d", b"d/new", b"mine", b"of9", b"private"]
        assert (changed / "private").read_text() == "of another one"


def owners(facts: Facts) -> dict[bytes, tuple[int, int]]:
    return {path: fact[1:3] for path, fact in facts.items()}


def test_the_owners_in_a_container_are_those_that_it_sees(
    rootless: Rootless, imgfs: Imgfs, mount: Mount, tmp_path: Path
) -> None:
    (own,) = (rootless.home / ".local/share/containers/storage/overlay").glob("*/diff/of9")
    os.chown(own.with_name("d") / "new", 12, 13)  # which the user's containers do not have
    with mount(rootless.source) as top:
        for name in ("changed", "same"):
            exported = rootless.home / f"{name}.tar"
            rootless.podman("export", "-o", exported, name)
            ours = owners(real_facts(top / "containers/by-name" / name / "rootfs"))
            assert ours == owners(extracted(exported, tmp_path / name))
        ours = owners(real_facts(top / "containers/by-name/changed/rootfs"))
    assert ours[b"d/new"] == (65534, 65534)
    assert imgfs("drift", "--source", rootless.source, "same").stdout == b""


def test_the_owners_in_a_container_with_a_user_namespace_of_its_own_are_those_that_it_sees(
    rootless: Rootless, mount: Mount
) -> None:
    """There, root is the first of the user's other IDs, and what Podman exports has the IDs that Podman sees."""
    rootless.podman("create", "--network=none", "--userns=keep-id", "--name=kept", IMAGE.tags[0], "/x")
    rootless.podman(
        "unshare", "sh", "-ec", "cd $(podman mount kept); chown 8:9 private; chown 0:0 d; ls -ln . >&2"
    )
    with mount(rootless.source) as top:
        found = owners(real_facts(top / "containers/by-name/kept/rootfs"))
    image = {path: fact[1:3] for path, fact in tree_facts(merged(LAYERS), LAYERS).items()}
    assert found == image | {b"private": (7, 8), b"d": (OWNER, OWNER)}
