"""What the command says of itself."""

import re
import shlex
import sys

import click
import pytest

from imgfs.cli.main import imgfs, main
from imgfs.help import TOPICS

COMMANDS = imgfs.list_commands(click.Context(imgfs))
PATHS = ["", *COMMANDS, *(f"cache {name}" for name in ("ls", "prune", "clear"))]


def run(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str, str]:
    """Exit status, standard output and standard error of the command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["imgfs", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    return caught.value.code, out, err


@pytest.mark.parametrize("command", PATHS)
def test_help_is_readable_and_every_command_has_it(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run([*command.split(), "--help"], monkeypatch, capsys)
    assert (status, err) == (0, "")
    assert out.startswith(f"Usage: imgfs {command}".rstrip())
    assert len(out.splitlines()) > 4
    assert "\\" not in out
    assert max(map(len, out.splitlines())) <= 110


@pytest.mark.parametrize("command", PATHS)
def test_help_has_an_example_that_is_such_a_command(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run([*command.split(), "--help"], monkeypatch, capsys)[1]
    shown = re.search(r"\n  Examples?:\n((?:    .+\n)+)", out)
    assert shown
    for line in shown[1].splitlines():
        found = re.search(rf"\bimgfs {command}\b(.*)", line)
        assert found, line
        words = [*command.split(), *shlex.split(re.split("[|>)]", found[1])[0].rstrip('"'))]
        assert words[0] in COMMANDS
        of: click.Command = imgfs
        with click.Context(imgfs, info_name="imgfs") as context:
            while isinstance(of, click.Group):
                name = words.pop(0)
                inner = of.get_command(context, name)
                assert inner is not None, line
                of = inner
            if words[:1] not in (["bash"], ["zsh"], ["fish"]):
                of.make_context(name, list(words), parent=context).close()
            if name == "help":
                assert words[0] in (*TOPICS, *COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "    oci:PATH[:TAG]         an OCI image layout"),
        (["mount"], "    umask=OCTAL           permissions to remove from all files"),
    ],
)
def test_lists_in_help_keep_their_lines(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in run([*arguments, "--help"], monkeypatch, capsys)[1].splitlines()


@pytest.mark.parametrize(
    "arguments", [["nonesuch"], ["--nonsense"], ["mount"], ["mount", "x"], ["ls", "--nonsense"], ["rm"]]
)
def test_wrong_usage_is_status_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(arguments, monkeypatch, capsys)
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    assert "Error: " in err
