"""`imgfs check`: which images break which rules, and what is printed."""

import json
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.cli.terminal import in_terminal
from tests.conftest import Imgfs
from tests.images import TestImage, docker_archive
from tests.tree.stacks import Entry, tar

FILE, DIRECTORY, SYMLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An image with a deleted key, a file that is replaced, and a link to a directory with a setuid program."""
    monkeypatch.chdir(tmp_path)
    layers = [
        tar(
            [
                Entry("bin", SYMLINK, "usr/bin"),
                Entry("usr/bin", DIRECTORY),
                Entry("usr/bin/su", FILE, "s" * 100, mode=0o4755),
                Entry("root/id_rsa", FILE, "k" * 50),
                Entry("data", FILE, "d" * 1000),
            ]
        ),
        tar([Entry("root/.wh.id_rsa", FILE), Entry("data", FILE, "e" * 3000), Entry("w[1]", FILE, "w")]),
    ]
    return str(docker_archive(tmp_path / "i.tar", [TestImage(layers, ["app:1"])]))


HOLDS: list[list[str]] = [
    ["--lowest-efficiency", "26%"],  # (1000 + 0 + 100 + 1) / 4151
    ["--highest-wasted-bytes", "4050"],
    ["--highest-user-wasted-percent", "off"],
    ["--highest-size", "4151"],
    ["--must-exist", "/bin/su"],
    ["--must-exist", "/bin/s*"],
    ["--must-exist", "/w[[]1]"],
    ["--must-exist", "su"],
    ["--must-not-exist", "/root/*"],
    ["--must-not-hide", "**/*.pem"],
    ["--must-not-hide", "su"],
    ["--allow-setuid", "/bin/su"],
    ["--allow-setuid", "/usr/**"],
]
BREAKS: list[list[str]] = [
    ["--lowest-efficiency", "0.27"],
    ["--highest-wasted-bytes", "4049"],
    ["--highest-user-wasted-percent", "1"],  # 4050 / 3001
    ["--highest-size", "4150"],
    ["--must-exist", "/root/id_rsa"],
    ["--must-not-exist", "/bin/su"],
    ["--must-not-exist", "/bin/*"],
    ["--must-not-exist", "/bin"],
    ["--must-not-exist", "/"],
    ["--must-not-hide", "**/id_rsa"],
    ["--must-not-hide", "data"],
    ["--allow-setuid", "/bin/sudo"],
    ["--no-setuid"],
]


@pytest.mark.parametrize("rule", HOLDS)
def test_a_rule_holds(imgfs: Imgfs, image: str, rule: list[str]) -> None:
    assert b"ok  " in imgfs("check", *rule, image).stdout or rule[1] == "off"


@pytest.mark.parametrize("rule", BREAKS)
def test_a_rule_is_broken(imgfs: Imgfs, image: str, rule: list[str]) -> None:
    assert b"FAIL  " in imgfs("check", *rule, image, status=1).stdout


def test_the_table_says_what_breaks_the_rules(imgfs: Imgfs, image: str) -> None:
    done = imgfs("check", image, "--must-not-hide", "id_rsa", "--no-setuid", "--highest-size=1G", status=1)
    lines = done.stdout.decode().splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["RULE", "LIMIT", "FOUND"],
        ["ok", "highest-size", "at", "most", "1.0G", "4.1K"],
        ["FAIL", "must-not-hide", "id_rsa", "1", "path"],
        ["FAIL", "allow-setuid", "none", "1", "path"],
    ]
    assert lines[5] == "must-not-hide, id_rsa:"
    assert lines[6].startswith("  00-")
    assert lines[6].endswith("  /root/id_rsa")
    assert lines[8:] == ["allow-setuid, none:", "  /usr/bin/su (setuid)", "", "2 of 3 rules broken"]
    assert done.stderr == b""


def test_without_rules_those_of_dive_count(imgfs: Imgfs, image: str) -> None:
    done = imgfs("check", image, status=1)
    assert b"lowest-efficiency" in done.stdout
    assert done.stderr.startswith(b"imgfs: no rules are given")


def test_rules_come_from_a_file_and_options_replace_them(imgfs: Imgfs, image: str, tmp_path: Path) -> None:
    (tmp_path / ".dive-ci").write_text("rules:\n  lowestEfficiency: 0.2\n  highestUserWastedPercent: off\n")
    imgfs("check", image)
    imgfs("check", image, "--lowestEfficiency", "0.5", status=1)
    (tmp_path / ".imgfs-check.toml").write_text('must-exist = ["/nothing"]\n')
    assert b"lowest" not in imgfs("check", image, status=1).stdout
    imgfs("check", image, "--must-exist=/bin")
    imgfs("check", image, "--config", ".dive-ci")


@pytest.mark.parametrize("form", ["json", "junit", "markdown"])
def test_programs_can_read_it(imgfs: Imgfs, image: str, form: str) -> None:
    text = imgfs("check", "--format", form, "--must-exist=/x", image, status=1).stdout.decode()
    if form == "json":
        assert json.loads(text)["rules"][0]["rule"] == "must-exist"
        assert imgfs("check", "--json", "--must-exist=/x", image, status=1).stdout.decode() == text
    elif form == "junit":
        assert ET.fromstring(text)[0].attrib["failures"] == "1"
    else:
        assert "| :x: | must-exist | <code>/x</code> | <code>nothing</code> |" in text


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--lowest-efficiency", "5"], b"options: lowest-efficiency: '5' is neither"),
        (["--config", "none.toml"], b"none.toml: No such file or directory"),
        (["--lowest-eficiency", "5"], b"Did you mean '--lowest-efficiency'"),
        (["--format", "xml"], b"'xml' is not one of"),
    ],
)
def test_an_error_is_no_failure(imgfs: Imgfs, image: str, arguments: list[str], error: bytes) -> None:
    done = imgfs("check", *arguments, image, status=2)
    assert error in done.stderr
    assert done.stdout == b""
    imgfs("check", "nothing:1", status=2)


def test_colors_are_for_terminals(imgfs: Imgfs, image: str) -> None:
    arguments = ("check", "--no-setuid", image)
    assert b"\x1b[" not in imgfs(*arguments, status=1).stdout
    assert b"\x1b[31mFAIL\x1b[0m" in imgfs(*arguments, "--color", "always", status=1).stdout
    assert "\x1b[31mFAIL\x1b[0m" in in_terminal(*arguments, status=1)
    assert "\x1b[" not in in_terminal(*arguments, "--color=never", status=1)
    assert "\x1b[" not in in_terminal(*arguments, status=1, environment={"NO_COLOR": "1"})
    assert "\x1b[" not in in_terminal(*arguments, status=1, environment={"TERM": "dumb"})
