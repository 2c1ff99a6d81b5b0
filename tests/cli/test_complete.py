"""What shells complete, and that real shells do; with that, the names kept for it (`known_names`)."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from imgfs.cli.complete import candidates, complete, split
from imgfs.cli.main import imgfs as group
from imgfs.cli.manual import command_table
from tests.conftest import Imgfs, Mount, eventually
from tests.containers import docker_container
from tests.images import TestImage, docker_archive, layer_tar, oci_layout
from tests.splitting import docker_root
from tests.tools import require_tool

FILES: dict[str, bytes | None] = {"etc/motd": b"1", "etc/ssh/key": b"2", "two words": b"3"}
IMAGES = [
    TestImage([layer_tar(FILES)], ["debian:12", "docker.io/library/app:latest"]),
    TestImage([layer_tar({"a": b""})], ["localhost/mine:1"]),
    TestImage([layer_tar({"b": b""})]),
]


def _words(line: str) -> list[str]:
    words, _ = split(line)
    return sorted({text for text, _ in candidates(words) if text.startswith(words[-1])})


@pytest.fixture
def folder(tmp_path: Path, imgfs: Imgfs, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a file and a layout; the images are in the store of imgfs, too."""
    folder = tmp_path / "here"
    folder.mkdir()
    docker_archive(folder / "x.tar", IMAGES)
    oci_layout(folder / "layout", IMAGES[:2])
    oci_layout(folder / "short", [TestImage([layer_tar({"c": b""})], ["1.0"])])
    imgfs("load", folder / "x.tar")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("imgfs la", ["layers"]),
        ("sudo /usr/bin/imgfs --debug la", ["layers"]),
        ("imgfs cache pr", ["prune"]),
        ("imgfs cache prune --ca", ["--cache-size"]),
        ("imgfs nonesuch ", []),
        ("imgfs copy deb", ["debian:12"]),
        ("imgfs copy debian:12 do", ["docker-archive:", "docker://"]),
        ("imgfs copy debian:12 oci:la", ["oci:layout/"]),
        ("imgfs export --t", ["--tar"]),
        ("imgfs export --tar ", ["diff", "flat", "rootfs", "verbatim"]),
        ("imgfs export --tar=f", ["--tar=flat"]),
        ("imgfs export -o x", ["x.tar"]),
        ("imgfs export -C ", ["layout/", "short/"]),
        ("imgfs mount docker: -o allow_other,ta", ["allow_other,tar=joined", "allow_other,tar=verbatim"]),
        ("imgfs help ca", ["cache", "cat"]),
        ("imgfs completion f", ["fish"]),
        ("imgfs import x", ["x.tar"]),
        ("imgfs load x", ["x.tar"]),
        (
            "imgfs load x.tar:",
            ["x.tar:debian:12", "x.tar:docker.io/library/app:latest", "x.tar:localhost/mine:1"],
        ),
        ("imgfs verify oci:l", ["oci:layout/"]),
        ("imgfs verify oci:short:1", ["oci:short:1.0"]),
        ("imgfs verify oci:layout:d", ["oci:layout:debian:12", "oci:layout:docker.io/library/app:latest"]),
        ("imgfs mount docker: l", ["layout/", "localhost/mine:1"]),
        ("imgfs layers deb", ["debian:12"]),
        ("imgfs layers imgfs:deb", ["imgfs:debian:12"]),
        ("imgfs layers docker:deb", []),
        ("imgfs layers app", ["app:latest"]),
        ("imgfs layers -- mi", ["mine:1"]),
        ("imgfs diff app:latest deb", ["debian:12"]),
        ("imgfs find debian:12 d", []),  # a pattern
        (f"imgfs layers {IMAGES[0].id[7:10]}", [IMAGES[0].id[7:19]]),
        (f"imgfs inspect {IMAGES[2].id[7:10]}", [IMAGES[2].id[7:19]]),
        ("imgfs cat deb", ["debian:12:/"]),
        ("imgfs cat debian:12:/", ["debian:12:/etc/", "debian:12:/two words"]),
        ("imgfs cat app:/etc/m", ["app:/etc/motd"]),
        ("imgfs cat debian:12:/etc/motd imgfs:app:/etc/s", ["imgfs:app:/etc/ssh/"]),
        ("imgfs cat ./x.tar:debian:12:/etc/ssh/", ["./x.tar:debian:12:/etc/ssh/key"]),
        ("imgfs cat oci:layout:app:/e", ["oci:layout:app:/etc/"]),
        ("imgfs cat 'app:/two w", ["app:/two words"]),
        ("imgfs cat app:/two\\ w", ["app:/two words"]),
        ("imgfs cat app:/none/", []),
    ],
)
def test_what_may_come_next_is_found(folder: Path, line: str, expected: list[str]) -> None:
    assert _words(line) == expected


def test_what_is_not_there_has_nothing_to_complete(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("imgfs cat none:/", "imgfs load none.tar:", "imgfs verify oci:x.tar:"):
        complete("fish", line)
    assert capsys.readouterr().out == ""


def test_names_of_an_image_run_nothing_in_a_shell(
    folder: Path, imgfs: Imgfs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("a$(touch x)", "a`b`", "a'b", 'a"b', "a\nb", "a\x1b[2J", os.fsdecode(b"a\xff"), "a;b&c|d~")
    (tmp_path / "root").mkdir()
    for name in names:
        (tmp_path / "root" / name).touch()
    imgfs("import", "-t", "odd:1", tmp_path / "root")
    for quote in ("", '"', "'"):
        complete("bash", f"imgfs cat {quote}odd:1:/a")
        lines = capsys.readouterr().out.splitlines()
        expected = {name for name in names if name.isprintable() and not (quote == "'" in name)}
        bash = "\n".join(f"printf '%s\\n' {quote}{line.removesuffix(' ')}{quote}" for line in lines)
        ran = subprocess.run(["bash", "-c", bash], capture_output=True, text=True, check=True)
        assert set(ran.stdout.splitlines()) == {f"odd:1:/{name}" for name in expected}
        assert not (folder / "x").exists()


def test_umount_completes_mounts(folder: Path, mount: Mount) -> None:
    with mount(folder / "x.tar") as top:
        assert str(top) in _words(f"imgfs umount {top.parent}/m")
        assert str(top) not in _words(f"imgfs mount docker: {top.parent}/m")


def test_links_to_directories_are_entered(imgfs: Imgfs, tmp_path: Path) -> None:
    for name in ("usr/bin", "usr/lib"):
        (tmp_path / "root" / name).mkdir(parents=True)
    (tmp_path / "root/usr/bin/ls").touch()
    (tmp_path / "root/bin").symlink_to("/usr/bin")
    imgfs("import", "-t", "a:1", tmp_path / "root")
    assert _words("imgfs cat a:1:/b") == ["a:1:/bin/"]
    assert _words("imgfs cat a:1:/bin/") == ["a:1:/bin/ls"]


def test_containers_complete_where_a_command_takes_them(
    tmp_path: Path, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = docker_root(tmp_path / "root", IMAGES[:1])
    docker_container(root, IMAGES[0])
    monkeypatch.setattr("imgfs.sources.default_sources", lambda: [f"docker:{root}"])
    monkeypatch.setattr("imgfs.sources.lookup.default_sources", lambda: [f"docker:{root}"])
    assert _words("imgfs cat nam") == ["name1:/"]
    assert _words("imgfs cat container:nam") == ["container:name1:/"]
    assert _words("imgfs find docker:nam") == ["docker:name1"]
    assert _words("imgfs diff debian:12 nam") == ["name1"]
    assert _words("imgfs export 1111") == ["1" * 12]
    assert _words("imgfs layers nam") == []
    assert _words("imgfs cat name1:/etc/m") == ["name1:/etc/motd"]


def test_names_are_kept_until_the_store_changes(
    folder: Path, imgfs: Imgfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _words("imgfs layers new") == []
    imgfs("tag", "app", "new:1")
    assert eventually(lambda: _words("imgfs layers new") == ["new:1"])
    with monkeypatch.context() as patched:  # nothing is opened any more
        patched.setitem(sys.modules, "imgfs.sources.open_union", None)
        patched.setitem(sys.modules, "imgfs.sources.lookup", None)
        assert _words("imgfs layers new") == ["new:1"]
    for kept in (folder.parent / "cache/imgfs/1").glob("*.names"):
        kept.chmod(0o666)
        kept.write_text("{}\nimgfs\tevil:1\tsha256:ff")
    assert _words("imgfs layers evil") == []
    for damage in (b"", b"[]\n", b"{", b"\xff\xfe\n"):
        for kept in (folder.parent / "cache/imgfs/1").glob("*.names"):
            kept.write_bytes(damage)
        assert _words("imgfs layers new") == ["new:1"]


def test_completing_a_command_loads_nothing_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; from imgfs.__main__ import main\ntry: main()\nfinally: print(sorted(sys.modules))"
    monkeypatch.setenv("_IMGFS_COMPLETE", "fish")
    done = subprocess.run(
        [sys.executable, "-c", code, "imgfs ca"], capture_output=True, text=True, check=True
    )
    found, modules = done.stdout.splitlines()[:-1], done.stdout.splitlines()[-1]
    assert [line.partition("\t")[0] for line in found] == ["cache", "cat"]
    for slow in (
        "imgfs.store",
        "imgfs.sources",
        "imgfs.layers",
        "imgfs.cache",
        "msgspec",
        "pyfuse3",
        "rich",
        "click",
    ):
        assert f"'{slow}'" not in modules


def test_the_table_of_commands_is_up_to_date() -> None:
    """If not: scripts/manual."""
    path = Path(__file__).parent.parent.parent / "imgfs/help/commands.json"
    assert path.read_text() == command_table(group)
    commands = json.loads(path.read_text())["commands"]
    assert commands["cat"]["arguments"] == ["IMAGE|CONTAINER:/PATH..."]
    assert "--source" not in commands["cat"]["options"]


def test_fish_completes(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.fish"
    lines = ("imgfs cat deb", "imgfs cat debian:12:/etc/s", "imgfs save --format oci-")
    asked = "\n".join(f"complete -C '{line}'" for line in lines)
    script.write_text(f"set -x PATH {_bin()} $PATH\nimgfs completion fish | source\n{asked}\n")
    done = subprocess.run(
        [require_tool("fish"), "--no-config", script], capture_output=True, text=True, check=True
    )
    found = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert found == ["debian:12:/", "debian:12:/etc/ssh/", "oci-archive"]


@pytest.mark.parametrize(
    ("shell", "start"),
    [
        (["bash", "--norc", "--noprofile", "-i"], 'eval "$(imgfs completion bash)"'),
        (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source <(imgfs completion zsh)"),
    ],
)
def test_bash_and_zsh_complete(folder: Path, shell: list[str], start: str) -> None:
    require_tool(shell[0])
    with _terminal(shell) as (keys, output):
        keys(f"PATH={_bin()}:$PATH; {start}; echo rea''dy\n")
        assert eventually(lambda: "ready\r" in output(), 30)
        for typed, words in (
            ("imgfs layers imgfs:de\t", "<imgfs><layers><imgfs:debian:12>"),
            ("imgfs cat debi\tetc/mo\t", "<imgfs><cat><debian:12:/etc/motd>"),
            ("imgfs cat app:/two\t", "<imgfs><cat><app:/two words>"),
            ("imgfs mount docker: -o noxattr,tar=j\t", "<imgfs><mount><docker:><-o><noxattr,tar=joined>"),
            ("imgfs save --format=oci-\tx\t", "<imgfs><save><--format=oci-archive><x.tar>"),
            ("imgfs exp\t-C la\t", "<imgfs><export><-C><layout/>"),
        ):
            keys(f"{typed}\1printf '<%s>' \n")  # at the beginning of the line
            assert eventually(partial(_has, output, words), 30), (typed, output())


@contextmanager
def _terminal(command: list[str]) -> Iterator[tuple[Callable[[str], None], Callable[[], str]]]:
    """A command on a terminal: what types keys, and what returns all that was shown."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    shown = bytearray()

    def keys(text: str) -> None:
        os.write(terminal, text.encode())

    def output() -> str:
        while select.select([terminal], [], [], 0.01)[0]:
            shown.extend(os.read(terminal, 1 << 16))
        return shown.decode(errors="replace")

    try:
        yield keys, output
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def _has(output: Callable[[], str], words: str) -> bool:
    return words in output()


def _bin() -> Path:
    return Path(sys.executable).parent
