"""`imgfs cat`, `imgfs cp` and paths of `imgfs ls`, compared with what GNU tar and ls make of the same tree."""

import errno
import os
import stat
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from imgfs.blob import SparseBlob
from imgfs.cli.files import _directories
from imgfs.cli.main import main
from imgfs.cli.output import output_folder
from imgfs.rootfs.copy_out import CopyOut, tar_of
from tests.conftest import Imgfs
from tests.images import TestImage, docker_archive
from tests.rootfs.roots import root_fs
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


def made(path: Path, *entries: Entry) -> str:
    """An image of one layer, as users name it."""
    return str(docker_archive(path, [TestImage([tar(list(entries))], ["x:1"])]))


def test_ls_prints_no_name_that_could_steer_a_terminal(imgfs: Imgfs, tmp_path: Path) -> None:
    image = made(tmp_path / "image.tar", Entry("a\x1b[2J\nb/c\n", FILE, "x"))
    for options in ([], ["-l"], ["-R"], ["-l", "-R"]):
        output = imgfs("ls", *options, f"{image}:/").stdout
        assert b"\\x1b" in output
        assert b"\x1b" not in output
        assert b"\nb" not in output
    assert imgfs("ls", "-R", f"{image}:/").stdout.decode().splitlines() == [
        f"{image}:/:",
        "a\\x1b[2J\\nb",
        "",
        f"{image}:/a\\x1b[2J\\nb:",
        "c\\n",
    ]


def test_cp_writes_nothing_to_the_root_when_the_destination_is_empty(imgfs: Imgfs, image: str) -> None:
    for path in ("/etc/deep", "/etc/motd"):
        assert b"DESTINATION is empty" in imgfs("cp", f"{image}:{path}", "", status=2).stderr


def test_cp_replaces_no_pipe_or_device(imgfs: Imgfs, image: str, tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        done = imgfs("cp", f"{image}:/etc/motd", path, status=1)
        assert done.stderr.decode().startswith(f"imgfs: {path}: a pipe or a device is not replaced")
    assert pipe.is_fifo()
    assert link.is_symlink()


def test_output_that_cannot_be_written_is_named(image: str) -> None:
    for arguments in (["cat", f"{image}:/etc/motd"], ["cp", f"{image}:/etc", "-"]):
        command = [sys.executable, "-m", "imgfs", *arguments]
        with open("/dev/full", "wb") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
        assert (done.returncode, done.stderr) == (1, b"imgfs: standard output: No space left on device\n")
        closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
        done = subprocess.run(closed, stderr=subprocess.PIPE, check=False)
        assert (done.returncode, done.stderr) == (1, b"imgfs: standard output: Bad file descriptor\n")


def test_cp_keeps_modes_and_owners_of_pipes(imgfs: Imgfs, tmp_path: Path) -> None:
    image = made(tmp_path / "image.tar", Entry("pipe", tarfile.FIFOTYPE, mode=0o666, owner=7))
    imgfs("cp", f"{image}:/pipe", tmp_path / "plain")
    assert stat.S_IMODE(os.stat(tmp_path / "plain").st_mode) == 0o666
    imgfs("cp", "-a", f"{image}:/pipe", tmp_path / "archive")
    found = os.stat(tmp_path / "archive")
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o666, 7)


def test_cp_takes_no_time_for_holes_of_sparse_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = tar([Entry("sparse", FILE, "data", sparse="pax"), Entry("hole", FILE, "", sparse="pax")])
    read: list[tuple[int, int]] = []
    pread = SparseBlob.pread

    def noted(self: SparseBlob, size: int, offset: int) -> bytes:
        read.append((offset, size))
        return pread(self, size, offset)

    monkeypatch.setattr(SparseBlob, "pread", noted)
    with root_fs(layer) as root, output_folder(str(tmp_path)) as folder:
        expected = {name: root.stat(name).size for name in ("sparse", "hole")}
        whole = {name: root.open(name).read() for name in expected}
        read.clear()
        CopyOut(root, folder, pytest.fail).copy(0, "")
    assert sum(size for _, size in read) < sum(expected.values())
    for name, size in expected.items():
        assert os.stat(tmp_path / name).st_size == size
        assert (tmp_path / name).read_bytes() == whole[name]


def test_deep_trees_are_copied_and_listed(imgfs: Imgfs, tmp_path: Path) -> None:
    path = "/".join("d" * 200)
    entries = [Entry(f"{path}/file", FILE, "deep"), Entry("again", HARDLINK, f"{path}/file")]
    image = made(tmp_path / "image.tar", *entries)
    imgfs("cp", f"{image}:/", tmp_path / "copy")
    assert (tmp_path / "copy/again").read_text() == "deep"
    assert os.stat(tmp_path / "copy/again").st_nlink == 2
    assert len(imgfs("ls", "-R", f"{image}:/d").stdout.splitlines()) == 3 * 200 - 1
    names = subprocess.run(
        ["tar", "tf", "-"], input=imgfs("cp", f"{image}:/", "-").stdout, capture_output=True, check=True
    ).stdout.decode()
    assert names.splitlines()[-1] == f"{path}/file"


def test_paths_take_no_memory_in_directories_with_many_entries() -> None:
    path = "/".join(["d" * 200] * 15)
    entries = [Entry(f"{path}/{number}", DIRECTORY) for number in range(2000)]
    with root_fs(tar(entries)) as root:
        root.tree  # noqa: B018  # made before memory is measured
        for work in (lambda: tar_of(root, 0, b""), lambda: _directories(root, 0, "", recursive=True)):
            tracemalloc.start()
            for _ in work():
                pass
            assert tracemalloc.get_traced_memory()[1] < 2 << 20
            tracemalloc.stop()


def test_a_link_put_on_the_way_to_a_file_does_not_become_a_name_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, target = tmp_path / "victim", tmp_path / "target"
    victim.mkdir()
    target.mkdir()
    (victim / "file").write_text("secret")
    link = os.link

    def race(*arguments: Any, **named: Any) -> None:
        os.rename(target / "a", tmp_path / "away")
        (target / "a").symlink_to(victim)
        link(*arguments, **named)

    monkeypatch.setattr(os, "link", race)
    layer = tar([Entry("a/file", FILE, "mine"), Entry("b/file", HARDLINK, "a/file")])
    with root_fs(layer) as root, output_folder(str(target)) as folder:
        CopyOut(root, folder, pytest.fail).copy(0, "")
    assert (target / "b/file").read_text() == "mine"
    assert os.stat(victim / "file").st_nlink == 1


def test_names_of_a_file_are_copies_where_no_link_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))

    monkeypatch.setattr(os, "link", refuse)
    with root_fs(LAYER) as root, output_folder(str(tmp_path)) as folder:
        CopyOut(root, folder, pytest.fail).copy(0, "")
    for name in ("motd", "again"):
        assert (tmp_path / "etc" / name).read_text() == "welcome"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cat", "app:1", "/etc/motd"], "'app:1' has no path (IMAGE:/PATH); did you mean app:1:/etc/motd?"),
        (
            ["cp", "x", "app:1:/y"],
            "images and containers are not changed: cp only copies out of them",
        ),
    ],
)
def test_what_has_no_path_is_wrong_usage(imgfs: Imgfs, arguments: list[str], said: str) -> None:
    assert imgfs(*arguments, status=2).stderr.decode().endswith(f"\nError: {said}\n")


def test_that_a_user_cannot_keep_owners_is_said(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", denied)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["imgfs", "cp", "-a", f"{image}:/etc/motd", str(tmp_path / "x")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    line = f"imgfs: {tmp_path}/x: Operation not permitted (only root can keep owners; leave -a out)"
    assert capsys.readouterr().err.splitlines() == [line]
