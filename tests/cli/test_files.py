"""`imgfs cat`, `imgfs cp` and paths of `imgfs ls`, compared with what GNU tar and ls make of the same tree."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.images import TestImage, docker_archive
from tests.tree.stacks import Entry, tar

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
LAYER = tar(
    [
        Entry("etc", DIRECTORY, mode=0o750, mtime=1000),
        Entry("etc/motd", FILE, "welcome", mode=0o4644, mtime=2000),
        Entry("etc/again", HARDLINK, "etc/motd", mode=0o4644, mtime=2000),
        Entry("etc/absolute", SYMLINK, "/etc/motd", mtime=3000),
        Entry("etc/outside", SYMLINK, "../../../etc/motd"),
        Entry("etc/deep/er/file", FILE, "deep"),
        Entry("pipe", tarfile.FIFOTYPE),
    ]
)


@pytest.fixture
def image(tmp_path: Path) -> str:
    """An image of LAYER, as users name it."""
    return str(docker_archive(tmp_path / "image.tar", [TestImage([LAYER], ["x:1"])]))


def test_cat_follows_links_inside_the_image(imgfs: Imgfs, image: str) -> None:
    for name in ("motd", "again", "absolute", "outside"):
        assert imgfs("cat", f"{image}:/etc/{name}").stdout == b"welcome"
    both = imgfs("cat", f"{image}:/etc/motd", f"{image}:/etc/deep/er/file").stdout
    assert both == b"welcomedeep"


def test_cat_goes_on_after_what_it_cannot_print(imgfs: Imgfs, image: str) -> None:
    done = imgfs("cat", f"{image}:/none", f"{image}:/etc", f"{image}:/etc/motd", status=1)
    assert done.stdout == b"welcome"
    assert done.stderr.decode() == (
        f"imgfs: {image}:/none: No such file or directory\nimgfs: {image}:/etc: Is a directory\n"
    )


def test_cp_copies_as_docker_cp_does(imgfs: Imgfs, image: str, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    imgfs("cp", f"{image}:/etc/motd", there)
    assert (there / "motd").read_text() == "welcome"
    imgfs("cp", f"{image}:/etc/motd", there / "renamed")
    assert (there / "renamed").read_text() == "welcome"
    imgfs("cp", f"{image}:/etc", there)
    assert sorted(os.listdir(there / "etc")) == ["absolute", "again", "deep", "motd", "outside"]
    imgfs("cp", f"{image}:/etc", tmp_path / "new")
    assert sorted(os.listdir(tmp_path / "new")) == sorted(os.listdir(there / "etc"))
    imgfs("cp", f"{image}:/etc/.", there)
    assert (there / "deep/er/file").read_text() == "deep"
    imgfs("cp", f"{image}:/etc/absolute", there / "link")
    assert os.readlink(there / "link") == "/etc/motd"
    imgfs("cp", "-L", f"{image}:/etc/absolute", there / "followed")
    assert (there / "followed").read_text() == "welcome"
    imgfs("cp", f"{image}:/etc/motd", f"{there}/none/", status=1)
    imgfs("cp", f"{image}:/none", there, status=1)


def test_cp_keeps_modes_times_and_links_but_not_what_makes_a_file_dangerous(
    imgfs: Imgfs, image: str, tmp_path: Path
) -> None:
    imgfs("cp", f"{image}:/etc", tmp_path / "etc")
    motd, folder = os.stat(tmp_path / "etc/motd"), os.stat(tmp_path / "etc")
    assert (motd.st_mode & 0o7777, motd.st_mtime, motd.st_nlink) == (0o644, 2000, 2)
    assert (folder.st_mode & 0o7777, folder.st_mtime) == (0o750, 1000)
    assert os.lstat(tmp_path / "etc/absolute").st_mtime == 3000
    imgfs("cp", "-a", f"{image}:/etc", tmp_path / "archive")
    assert os.stat(tmp_path / "archive/motd").st_mode & 0o7777 == 0o4644


def test_links_that_are_there_lead_nothing_elsewhere(imgfs: Imgfs, image: str, tmp_path: Path) -> None:
    victim, target = tmp_path / "victim", tmp_path / "target"
    victim.mkdir()
    (victim / "motd").write_text("mine")
    (target / "etc").mkdir(parents=True)
    (target / "etc/motd").symlink_to(victim / "motd")
    (target / "etc/deep").symlink_to(victim)
    imgfs("cp", f"{image}:/etc", target)
    assert (victim / "motd").read_text() == "mine"
    assert os.listdir(victim) == ["motd"]
    assert (target / "etc/deep/er/file").read_text() == "deep"
    (tmp_path / "blocked/motd").mkdir(parents=True)
    line = imgfs("cp", f"{image}:/etc/motd", tmp_path / "blocked", status=1).stderr.decode()
    assert line == f"imgfs: {tmp_path}/blocked/motd: Is a directory\n"


def test_cp_to_standard_output_is_a_tar(imgfs: Imgfs, image: str, tmp_path: Path) -> None:
    archive = imgfs("cp", f"{image}:/etc", "-").stdout
    (tmp_path / "a").mkdir()
    subprocess.run(["tar", "xpf", "-", "-C", tmp_path / "a"], input=archive, check=True)
    imgfs("cp", "-a", f"{image}:/etc", tmp_path / "b")
    subprocess.run(["diff", "-r", "--no-dereference", tmp_path / "a/etc", tmp_path / "b"], check=True)
    listings = [
        subprocess.run(["find", ".", "-printf", "%P %m %U %G %n %T@ %s %l\n"], cwd=place, capture_output=True)
        for place in (tmp_path / "a/etc", tmp_path / "b")
    ]
    assert sorted(listings[0].stdout.splitlines()) == sorted(listings[1].stdout.splitlines())
    names = subprocess.run(
        ["tar", "tf", "-"], input=imgfs("cp", f"{image}:/etc/.", "-").stdout, capture_output=True, check=True
    ).stdout.decode()
    assert sorted(names.split()) == [
        "absolute",
        "again",
        "deep/",
        "deep/er/",
        "deep/er/file",
        "motd",
        "outside",
    ]


def test_ls_lists_as_ls_does(
    imgfs: Imgfs, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    assert imgfs("ls", f"{image}:/").stdout.decode().split() == ["etc", "pipe"]
    assert imgfs("ls", f"{image}:/etc/absolute").stdout == b"/etc/absolute\n"
    lines = imgfs("ls", "-l", f"{image}:/etc").stdout.decode().splitlines()
    assert lines[0] == "lrwxrwxrwx 1 0 0  9 1970-01-01 00:50 absolute -> /etc/motd"
    assert lines[3] == "-rwSr--r-- 2 0 0  7 1970-01-01 00:33 motd"
    recursive = imgfs("ls", "-R", f"{image}:/etc").stdout.decode()
    assert recursive.startswith(
        f"{image}:/etc:\nabsolute\nagain\ndeep\nmotd\noutside\n\n{image}:/etc/deep:\n"
    )
    assert imgfs("ls", f"{image}:/none", status=1).stderr.decode().endswith("No such file or directory\n")
    assert b"for paths" in imgfs("ls", "-l", status=2).stderr
