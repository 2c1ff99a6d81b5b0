"""What commands print to a terminal of 80 columns, in colors and cut where nothing is lost."""

import re
import tarfile
from pathlib import Path

import pytest

from tests.cli.terminal import in_terminal
from tests.conftest import Imgfs
from tests.damage import flip
from tests.images import TestImage, docker_archive, layer_tar, oci_layout
from tests.tree.stacks import Entry, tar


@pytest.fixture
def image(environment: None, tmp_path: Path) -> str:
    layers = [layer_tar({"a": b"1", "b": b"2"}), layer_tar({"a": b"3", ".wh.b": b"", "c": b""})]
    history = [{"created_by": "RUN a step of which a lot is to be said " * 5} for _ in layers]
    made = TestImage(layers, ["example.com/a/rather/long/name:1"], extra={"history": history})
    docker_archive(tmp_path / "first.tar", [TestImage(layers[:1], ["first:1"])])
    return str(docker_archive(tmp_path / "i.tar", [made]))


def plain(text: str) -> str:
    """The text that is left on the screen: without colors, and lines that were drawn over."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    return "\n".join(line.rpartition("\x1b[2K")[2] for line in lines)


@pytest.mark.parametrize(
    ("command", "is_cut"), [(["layers"], True), (["which"], True), (["verify"], False), (["check"], False)]
)
def test_nothing_is_wider_than_the_terminal(image: str, command: list[str], is_cut: bool) -> None:
    arguments = [*command, image, *(["/a"] if command == ["which"] else [])]
    status = 1 if command == ["check"] else 0
    lines = plain(in_terminal(*arguments, status=status)).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.endswith("…") for line in lines) == is_cut
    if is_cut:
        whole = plain(in_terminal(*arguments, "--no-trunc", status=status))
        assert max(map(len, whole.splitlines())) > 80


def test_differences_have_colors(imgfs: Imgfs, image: str, tmp_path: Path) -> None:
    arguments = ("diff", str(tmp_path / "first.tar"), image)
    assert re.findall(r"\x1b\[(\d+)m([ADC])\x1b\[0m ", in_terminal(*arguments)) == [
        ("33", "C"),
        ("31", "D"),
        ("32", "A"),
    ]
    assert b"\x1b" not in imgfs(*arguments).stdout
    assert b"\x1b[32mA" in imgfs(*arguments, "--color=always").stdout
    assert b"\x1b[32mA" in imgfs("--color=always", *arguments).stdout
    assert b"\x1b" not in imgfs("--color=always", *arguments, "--color=never").stdout


def test_verify_ends_with_a_summary(imgfs: Imgfs, tmp_path: Path, images: list[TestImage]) -> None:
    layout = oci_layout(tmp_path / "layout", images)
    lines = in_terminal("verify", str(layout)).splitlines()
    assert re.fullmatch(r"\d+ good, 0 bad", lines[-1])
    assert all(re.search("sha256:|[0-9a-f]{13}", line) is None for line in lines)
    damaged = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    flip(damaged)
    text = in_terminal("verify", str(layout), status=1)
    assert f"sha256:{damaged.name}" in text, "what is bad is named in whole"
    assert re.fullmatch(r"\d+ good, \x1b\[31m1 bad\x1b\[0m", text.splitlines()[-1])


def test_bars_count_the_layers(environment: None, archive: Path) -> None:
    drawn = in_terminal("load", str(archive))
    assert "layer 2 of 2  " in drawn
    assert "layer 4 of 4  " in drawn
    saved = str(archive.parent / "saved.tar")
    drawn = in_terminal("save", "-o", saved, "example/child:1", "example/grandchild:1")
    assert re.findall(r"layer \d of \d", drawn)[::2] == [f"layer {number} of 4" for number in range(1, 5)]


def test_doctor_has_colors(environment: None) -> None:
    assert "\x1b[32mok\x1b[0m     " in in_terminal("doctor")


def test_output_that_goes_to_a_file_is_all_there_and_plain(
    environment: None, tmp_path: Path, images: list[TestImage]
) -> None:
    layout = oci_layout(tmp_path / "layout", images)
    with (tmp_path / "out").open("wb") as output:
        assert "layer 2 of 4  " in in_terminal("verify", str(layout), output=output)
    lines = (tmp_path / "out").read_text().splitlines()
    assert sum(line.startswith("good  layer sha256:") for line in lines) == 4
    assert lines[-1] == f"{len(lines) - 1} good, 0 bad"


def test_names_of_files_have_the_colors_of_ls(imgfs: Imgfs, tmp_path: Path) -> None:
    layer = tar(
        [
            Entry("d", tarfile.DIRTYPE, mode=0o755),
            Entry("l", tarfile.SYMTYPE, "d"),
            Entry("f", tarfile.REGTYPE),
            Entry("x", tarfile.REGTYPE, mode=0o755),
            Entry("s", tarfile.REGTYPE, mode=0o4755),
            Entry("g", tarfile.REGTYPE, mode=0o2755),
            Entry("p", tarfile.FIFOTYPE),
        ]
    )
    path = f"{docker_archive(tmp_path / 'i.tar', [TestImage([layer], ['x:1'])])}:x:1:/"
    for option in ((), ("-l",)):
        text = in_terminal("ls", *option, path)
        found = re.findall(r"((?:\x1b\[\d+m)+)(\w)\x1b\[0m", text)
        assert {name: re.findall(r"\d+", codes) for codes, name in found} == {
            "d": ["34", "1"],
            "g": ["30", "43"],
            "l": ["36", "1"],
            "p": ["33", "1"],
            "s": ["37", "41"],
            "x": ["32", "1"],
        }
        assert b"\x1b" not in imgfs("ls", *option, path).stdout
