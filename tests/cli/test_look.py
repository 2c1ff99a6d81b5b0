"""Looking into root file systems without a mount."""

import json
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.images import TestImage, docker_archive
from tests.tree.stacks import Entry, tar

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
BASE = [
    Entry("etc", DIRECTORY),
    Entry("etc/passwd", FILE, "root"),
    Entry("etc/same", FILE, "same"),
    Entry("etc/shadow", FILE, "secret"),
    Entry("lib", SYMLINK, "usr/lib"),
    Entry("usr/lib/libc.so", FILE, "library"),
    Entry("opt/tool/file", FILE),
]
CHANGED = [
    Entry("etc/passwd", FILE, "toor", mode=0o600),
    Entry("etc/same", FILE, "same", mtime=7),
    Entry("etc/.wh.shadow", FILE),
    Entry("opt/tool", FILE, "now a file"),
    Entry("usr/.wh..wh..opq", FILE),
    Entry("new\nline", FILE, "12345"),
]


@pytest.fixture
def source(tmp_path: Path) -> list[str]:
    """An image `one:1`, and `two:1` with a layer more."""
    one = TestImage([tar(BASE)], ["one:1"], extra={"history": [{"created_by": "COPY base /"}]})
    two = TestImage([tar(BASE), tar(CHANGED)], ["two:1"])
    return ["--source", f"docker-archive:{docker_archive(tmp_path / 'two.tar', [one, two])}"]


def lines(imgfs: Imgfs, *arguments: str, status: int = 0) -> list[str]:
    return imgfs(*arguments, status=status).stdout.decode().splitlines()


def test_find_matches_names_and_with_a_slash_whole_paths(imgfs: Imgfs, source: list[str]) -> None:
    assert lines(imgfs, "find", *source, "one:1", "*s*w*") == ["/etc/passwd", "/etc/shadow"]
    for pattern in ("/usr/*/*.so", "usr/*/*.so", "*/*/libc.so", "usr/**/*.so", "**/libc.so", "usr/lib/**"):
        assert lines(imgfs, "find", *source, "one:1", pattern) == ["/usr/lib/libc.so"]
    for pattern in ("nothing", "/usr/*.so", "*/libc.so"):
        assert lines(imgfs, "find", *source, "one:1", pattern, status=1) == []
    assert imgfs("find", *source, "none:1", "*", status=2).stderr


def test_find_looks_into_layers_and_for_what_later_ones_hide(imgfs: Imgfs, source: list[str]) -> None:
    def find(*arguments: str) -> list[tuple[str, str]]:
        return [(line[:2], line[15:].strip()) for line in lines(imgfs, "find", *source, "two:1", *arguments)]

    assert find("passwd", "--layers") == [("00", "/etc/passwd"), ("01", "/etc/passwd")]
    assert find("passwd", "--deleted") == [("00", "/etc/passwd")]
    assert find("*", "--deleted") == [
        *(
            ("00", path)
            for path in ("/etc/passwd", "/etc/same", "/etc/shadow", "/opt/tool", "/opt/tool/file")
        ),
        *(("00", path) for path in ("/usr/lib", "/usr/lib/libc.so")),
    ]
    assert lines(imgfs, "find", *source, "one:1", "*", "--deleted", status=1) == []
    assert imgfs("find", "-0", *source, "two:1", "shadow", "--deleted").stdout.endswith(b"  /etc/shadow\0")


def test_find_does_not_break_lines_or_terminals(imgfs: Imgfs, source: list[str]) -> None:
    assert lines(imgfs, "find", *source, "two:1", "new*") == ["/new\\nline"]
    assert imgfs("find", "-0", *source, "two:1", "new*").stdout == b"/new\nline\0"


def test_which_tells_what_each_layer_did(imgfs: Imgfs, source: list[str]) -> None:
    above, below = lines(imgfs, "which", *source, "two:1", "/etc/passwd")
    assert above.startswith("01-")
    assert "replaced: file of 4 bytes" in above
    assert below.startswith("00-")
    assert "added: file of 4 bytes" in below


def test_which_follows_links_on_the_way_and_names_the_step(imgfs: Imgfs, source: list[str]) -> None:
    (line,) = lines(imgfs, "which", *source, "one:1", "lib/libc.so")
    assert line.endswith("added: file of 7 bytes  # COPY base /")


@pytest.mark.parametrize("path", ["/", "", "..", "opt", "opt/tool/../"])
def test_which_knows_directories_that_no_layer_has(imgfs: Imgfs, source: list[str], path: str) -> None:
    (line,) = lines(imgfs, "which", *source, "one:1", path)
    assert "made for what is in it  # COPY" in line


@pytest.mark.parametrize(
    ("path", "by"),
    [
        ("/etc/shadow", "the whiteout etc/.wh.shadow"),
        ("/usr/lib/libc.so", "the opaque directory usr"),
        ("/opt/tool/file", "what took the place of a directory or link above it"),
    ],
)
def test_which_says_what_removed_a_path(imgfs: Imgfs, source: list[str], path: str, by: str) -> None:
    above, below = lines(imgfs, "which", *source, "two:1", path, status=1)
    assert f"removed by {by}" in above
    assert "added" in below


def test_a_path_that_never_was_is_an_error(imgfs: Imgfs, source: list[str]) -> None:
    assert b"/nothing" in imgfs("which", *source, "one:1", "/nothing", status=1).stderr


def test_diff_tells_what_was_added_removed_and_changed(imgfs: Imgfs, source: list[str]) -> None:
    assert [line.split(maxsplit=2) for line in lines(imgfs, "diff", *source, "one:1", "two:1")] == [
        ["C", "+0", "/etc  (mode)"],
        ["C", "+0", "/etc/passwd  (mode, content)"],
        ["D", "-6", "/etc/shadow"],
        ["A", "+5", "/new\\nline"],
        ["C", "+10", "/opt/tool  (type)"],
        ["D", "+0", "/opt/tool/file"],
        ["D", "+0", "/usr/lib"],
        ["D", "-7", "/usr/lib/libc.so"],
    ]


def test_diff_of_an_image_with_itself_is_empty(imgfs: Imgfs, source: list[str]) -> None:
    assert lines(imgfs, "diff", "--exit-code", *source, "two:1", "two:1") == []
    lines(imgfs, "diff", "--exit-code", *source, "one:1", "two:1", status=1)


def test_diff_as_json_has_both_sides(imgfs: Imgfs, source: list[str]) -> None:
    found = map(json.loads, lines(imgfs, "diff", "--json", *source, "one:1", "two:1"))
    rows = {row["path"]: row for row in found}
    assert rows["/etc/passwd"]["change"] == "changed"
    assert rows["/etc/passwd"]["differs"] == ["mode", "content"]
    assert rows["/etc/passwd"]["before"] == {"type": "file", "mode": "0644", "uid": 0, "gid": 0, "size": 4}
    assert rows["/etc/passwd"]["after"]["mode"] == "0600"
    assert rows["/etc/shadow"]["after"] is None
    assert rows["/new\nline"]["before"] is None


@pytest.fixture
def meeting(tmp_path: Path) -> list[str]:
    """Images `base:1`, and `over:1` with a layer of names below its link and its file, and a hard link into it."""
    base = [
        Entry("lib", SYMLINK, "usr/lib"),
        Entry("usr/lib/libc.so", FILE, "library"),
        Entry("a", FILE, "file"),
    ]
    over = [Entry("lib/foo", FILE, "12345"), Entry("a/b", FILE), Entry("g", HARDLINK, "usr/lib/libc.so")]
    images = [TestImage([tar(base)], ["base:1"]), TestImage([tar(base), tar(over)], ["over:1"])]
    return ["--source", f"docker-archive:{docker_archive(tmp_path / 'over.tar', images)}"]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("lib", "replaced by a directory, made for what is in it"),
        ("lib/foo", "added: file of 5 bytes"),
        ("lib/libc.so", "removed by what took the place of a directory or link above it"),
        ("usr/lib/libc.so", "added: file of 7 bytes"),
        ("a", "replaced by a directory, made for what is in it"),
        ("a/b", "added: file of 0 bytes"),
        ("g", "hard link to a file of a lower layer: file of 7 bytes"),
    ],
)
def test_which_says_what_became_of_links_and_files_that_a_layer_has_names_below(
    imgfs: Imgfs, meeting: list[str], path: str, what: str
) -> None:
    found = imgfs("which", *meeting, "over:1", path, status=int(what.startswith("removed")))
    assert found.stdout.decode().splitlines()[0].split("  ")[1] == what


def test_find_and_diff_show_layers_that_meet_as_an_overlay(imgfs: Imgfs, meeting: list[str]) -> None:
    assert imgfs("find", *meeting, "over:1", "/**").stdout.decode().split() == [
        *("/a", "/a/b", "/g", "/lib", "/lib/foo", "/usr", "/usr/lib", "/usr/lib/libc.so")
    ]
    lines = imgfs("diff", *meeting, "base:1", "over:1").stdout.decode().splitlines()
    assert [line.split(maxsplit=2) for line in lines] == [
        ["C", "-4", "/a  (type)"],
        ["A", "+0", "/a/b"],
        ["A", "+7", "/g"],
        ["C", "-7", "/lib  (type)"],
        ["A", "+5", "/lib/foo"],
    ]


def test_find_deleted_follows_no_links_of_later_layers(imgfs: Imgfs, tmp_path: Path) -> None:
    below = tar(
        [
            Entry("circle/inside/file", FILE),
            Entry("moved/inside/file", FILE),
            Entry("other/inside", DIRECTORY),
        ]
    )
    above = tar([Entry("circle", SYMLINK, "circle"), Entry("moved", SYMLINK, "other")])
    image = docker_archive(tmp_path / "image.tar", [TestImage([below, above], ["x:1"])])
    found = lines(imgfs, "find", "--deleted", str(image), "inside")
    assert [line[15:].strip() for line in found] == ["/circle/inside", "/moved/inside"]
