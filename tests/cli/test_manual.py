"""The manual: topics, man pages, suggestions."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from imgfs.cli.main import imgfs as group
from imgfs.cli.manual import PAGES, man_page
from imgfs.help import TOPICS, topic_text
from tests.conftest import Imgfs

MAN = Path(__file__).parent.parent.parent / "imgfs/help/man"


@pytest.mark.parametrize("topic", TOPICS)
def test_topics_are_printed_and_fit_a_page(imgfs: Imgfs, topic: str) -> None:
    text = imgfs("help", topic).stdout.decode()
    assert text == topic_text(topic)
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 80


def test_help_of_a_command_is_that_of_its_option(imgfs: Imgfs) -> None:
    assert imgfs("help", "cat").stdout == imgfs("cat", "--help").stdout
    assert all(topic in imgfs("help").stdout.decode() for topic in TOPICS)
    assert b"No such command or topic 'nonesuch'" in imgfs("help", "nonesuch", status=2).stderr


def test_every_topic_is_in_one_man_page() -> None:
    assert sorted(topic for _, _, topics in PAGES.values() for topic in topics) == sorted(TOPICS)


@pytest.mark.parametrize("page", PAGES)
def test_man_pages_are_up_to_date_and_readable(page: str) -> None:
    """If not: scripts/manual."""
    text = man_page(page, group)
    assert (MAN / page).read_text() == text
    shown = subprocess.run(
        ["man", "--warnings", "-l", MAN / page],
        env=os.environ | {"MANWIDTH": "80"},
        capture_output=True,
        check=True,
    )
    assert shown.stderr == b""
    plain = re.sub(r".\x08", "", shown.stdout.decode())
    assert PAGES[page][1] in plain
    assert max(map(len, plain.splitlines())) <= 80
    assert "\\" not in re.sub(r"\\[nt]", "", plain)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (["images"], "did you mean ls?"),
        (["rmi"], "did you mean rm?"),
        (["lss"], "did you mean ls?"),
        (["exprot"], "did you mean export?"),
        (["list"], "did you mean ls?"),
        (["history"], "did you mean layers?"),
        (["extract"], "did you mean cp or export -C?"),
        (["push"], "did you mean copy?"),
        (["run"], "only read"),
        (["ls", "--jsno"], "'--json'"),
        (["save", "--format", "oci-archiv", "x"], "oci-archive"),
        (["help", "imags"], "did you mean images?"),
        (["help", "monut"], "did you mean mount or umount?"),
        (["help", "exprot"], "did you mean export?"),
    ],
)
def test_what_was_meant_is_suggested(imgfs: Imgfs, said: list[str], meant: str) -> None:
    assert meant in imgfs(*said, status=None).stderr.decode()


@pytest.mark.parametrize(
    ("option", "meant"),
    [("allow-other", "allow_other"), ("symlink=inside", "symlinks"), ("tar=jioned", "joined")],
)
def test_options_of_mount_are_suggested(imgfs: Imgfs, tmp_path: Path, option: str, meant: str) -> None:
    assert meant in imgfs("mount", "-o", option, "docker:", tmp_path, status=2).stderr.decode()
