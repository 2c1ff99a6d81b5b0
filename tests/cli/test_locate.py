"""One question to every image of a store."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgfs.locate.catalog import KIND
from tests.cli.terminal import in_terminal
from tests.conftest import Imgfs, Mount
from tests.containers import docker_container
from tests.images import TestImage, docker_archive, oci_layout
from tests.splitting import docker_root
from tests.tar.archives import sparse_file
from tests.tree.stacks import Entry, tar

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
BASE = [
    Entry("etc", DIRECTORY, mode=0o755),
    Entry("etc/passwd", FILE, "root"),
    Entry("etc/key.pem", FILE, "secret", owner=1000),
    Entry("usr/bin/su", FILE, "program", mode=0o4755, mtime=1_700_000_000),
    Entry("usr/lib", SYMLINK, "lib64"),
    Entry("usr/share/java/log4j-core-2.14.1.jar", FILE, "x" * 3000),
]
CHANGED = [Entry("etc/.wh.key.pem", FILE), Entry("etc/passwd", FILE, "toor"), Entry("new\nline", FILE)]


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An image `one:1`, and `two:1` with a layer more."""
    one, two = TestImage([tar(BASE)], ["one:1"]), TestImage([tar(BASE), tar(CHANGED)], ["two:1"])
    return oci_layout(tmp_path / "layout", [one, two])


def short(entries: list[Entry]) -> str:
    return hashlib.sha256(tar(entries)).hexdigest()[:12]


def lines(imgfs: Imgfs, layout: Path, *arguments: str, status: int = 0) -> list[str]:
    result = imgfs("locate", "--source", f"oci:{layout}", *arguments, status=status)
    return result.stdout.decode().splitlines()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Where the files of the cache are."""
    return tmp_path / "cache/imgfs/1"


def kept(files: Path) -> dict[str, os.stat_result]:
    return {path.name: path.stat() for path in files.glob("*") if path.name.endswith(f".{KIND}")}


def test_each_path_is_printed_with_its_layers_and_their_images(imgfs: Imgfs, layout: Path) -> None:
    assert lines(imgfs, layout, "log4j-core-*.jar") == [
        "/usr/share/java/log4j-core-2.14.1.jar",
        f"  {short(BASE)}  one:1, two:1",
    ]
    assert lines(imgfs, layout, "etc/passwd") == [
        "/etc/passwd",
        f"  {short(BASE)}  one:1",
        f"  {short(CHANGED)}  two:1",
    ]
    assert lines(imgfs, layout, "*.pem", "--deleted") == [
        "/etc/key.pem",
        f"  {short(BASE)}  one:1",
        "    deleted in  two:1",
    ]
    assert lines(imgfs, layout, "nowhere", status=1) == []


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["bin"], ["/usr/bin", "/usr/bin/su"]),
        (["-b", "bin"], ["/usr/bin"]),
        (["/bin/s"], ["/usr/bin/su"]),
        (["bin/"], ["/usr/bin/su"]),
        (["SU"], []),
        (["-i", "SU"], ["/usr/bin/su"]),
        (["-i", "ETC/P*"], ["/etc/passwd"]),
        (["/usr/*/su"], ["/usr/bin/su"]),
        (["/usr/*"], ["/usr/bin", "/usr/lib", "/usr/share"]),
        (["/usr/share/**"], ["/usr/share/java", "/usr/share/java/log4j-core-2.14.1.jar"]),
        (["-r", r"log4j-.*\.jar$"], ["/usr/share/java/log4j-core-2.14.1.jar"]),
        (["-r", r"^/etc/(passwd|group)$"], ["/etc/passwd"]),
        (["--regexp", "-b", "^s"], ["/usr/bin/su", "/usr/share"]),
        (["--perm", "/4000"], ["/usr/bin/su"]),
        (["--perm", "-4755"], ["/usr/bin/su"]),
        (["--perm", "4755", "etc"], []),
        (["--perm", "/u=s,g=s"], ["/usr/bin/su"]),
        (["--perm", "-u+s,a+x"], ["/usr/bin/su"]),
        (["--perm", "a=w,ug+s,g-s,a=rx,u=rws,u+x"], ["/usr/bin/su"]),
        (["--perm", "/o+t"], []),
        (["--user", "1000"], ["/etc/key.pem"]),
        (["--gid", "1000", "--type", "f"], ["/etc/key.pem"]),
        (["--type", "l"], ["/usr/lib"]),
        (["--size", "+2k"], ["/usr/share/java/log4j-core-2.14.1.jar"]),
        (["--size", "-5c", "--type", "f"], ["/etc/passwd", "/new\\nline"]),
        (["--newer", "2023-11-01", "--type", "f"], ["/usr/bin/su"]),
        (["--mtime", "-1"], []),
        (["--sha256", hashlib.sha256(b"program").hexdigest()], ["/usr/bin/su"]),
        (["--sha256", hashlib.sha256(b"").hexdigest()], ["/new\\nline"]),
        (["--sha256", hashlib.sha256(b"none").hexdigest()], []),
        (["--capability"], []),
        (["*.pem", "--limit", "1"], ["/etc/key.pem"]),
    ],
)
def test_options_are_as_those_of_plocate_and_find(
    imgfs: Imgfs, layout: Path, arguments: list[str], found: list[str]
) -> None:
    assert lines(imgfs, layout, "-q", *arguments, status=int(not found)) == found


def test_results_are_counted_and_printed_for_programs(imgfs: Imgfs, layout: Path) -> None:
    assert lines(imgfs, layout, "-c", "passwd") == ["2"]
    result = imgfs("locate", "--source", f"oci:{layout}", "-0", "passwd")
    assert result.stdout == b"/etc/passwd\0"
    (found,) = map(json.loads, lines(imgfs, layout, "--json", "--deleted", "key.pem"))
    assert found == {
        "path": "/etc/key.pem",
        "type": "file",
        "mode": "0644",
        "uid": 1000,
        "gid": 1000,
        "size": 6,
        "modified": "2020-09-13T12:26:40+00:00",
        "diff_id": f"sha256:{hashlib.sha256(tar(BASE)).hexdigest()}",
        "images": ["one:1"],
        "containers": [],
        "deleted_images": ["two:1"],
        "deleted_containers": [],
    }


def test_a_new_image_is_found_at_once(imgfs: Imgfs, layout: Path) -> None:
    assert lines(imgfs, layout, "-q", "added", status=1) == []
    images = [
        TestImage([tar(BASE)], ["one:1"]),
        TestImage([tar(BASE), tar([Entry("added", FILE)])], ["new:1"]),
    ]
    shutil.rmtree(layout)
    oci_layout(layout, images)
    assert lines(imgfs, layout, "added")[0] == "/added"
    assert "two:1" not in "".join(lines(imgfs, layout, "passwd")), "it is gone"


def test_an_image_whose_manifest_comes_after_its_name_is_found(imgfs: Imgfs, layout: Path) -> None:
    _, two = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = layout / "blobs" / two["digest"].replace(":", "/")
    away = manifest.rename(layout.with_name("away"))
    time.sleep(0.1)  # until what is found is kept
    assert lines(imgfs, layout, "-q", "line", status=3) == []
    away.rename(manifest)
    assert lines(imgfs, layout, "-q", "line") == ["/new\\nline"]


def test_what_is_damaged_in_the_cache_is_made_again(imgfs: Imgfs, files: Path, layout: Path) -> None:
    wanted = lines(imgfs, layout, "passwd")
    before = kept(files)
    for damage in (b"", b"imgfs locate, 1\n", None):
        (name,) = kept(files)
        path = files / name
        data = path.read_bytes()
        path.write_bytes(data.replace(b"passwd", b"passwX") if damage is None else damage)
        assert lines(imgfs, layout, "passwd") == wanted
    assert kept(files).keys() == before.keys()


def test_what_is_kept_is_used(imgfs: Imgfs, files: Path, layout: Path) -> None:
    time.sleep(0.1)  # so that a change would have another time
    for number in range(2):
        assert lines(imgfs, layout, "-c", "passwd") == ["2"], number
    before = kept(files)
    for path in (layout / "blobs/sha256").iterdir():
        os.truncate(path, 0)
    assert lines(imgfs, layout, "-c", "passwd") == ["2"], "no layer is read"
    assert kept(files) == before


def test_an_image_whose_layer_cannot_be_read_is_skipped(imgfs: Imgfs, tmp_path: Path) -> None:
    bad = TestImage([tar(CHANGED)], ["bad:1"])
    layout = oci_layout(tmp_path / "layout", [TestImage([tar(BASE)], ["one:1"]), bad], compression="none")
    (layout / "blobs/sha256" / hashlib.sha256(tar(CHANGED)).hexdigest()).unlink()
    result = imgfs("locate", "--source", f"oci:{layout}", "-q", "passwd", status=3)
    assert result.stdout == b"/etc/passwd\n"
    assert result.stderr.count(b"\n") == 1


def test_a_file_that_is_nearly_all_a_hole_holds_up_no_other(imgfs: Imgfs, tmp_path: Path) -> None:
    layer = sparse_file("hole", 1 << 60, [(0, 4096)]) + tar(BASE)
    layout = oci_layout(tmp_path / "layout", [TestImage([layer], ["one:1"])])
    digest = hashlib.sha256(b"program").hexdigest()
    result = imgfs("locate", "--source", f"oci:{layout}", "-q", "--sha256", digest, status=0)
    assert result.stdout == b"/usr/bin/su\n"
    assert b"/hole: its content is not compared" in result.stderr and result.stderr.count(b"\n") == 1


def test_wrong_usage_is_explained(imgfs: Imgfs, layout: Path) -> None:
    for arguments in (
        [],
        ["-r", "("],
        ["--perm", "+s"],
        ["--size", "x"],
        ["--sha256", "12"],
        ["--type", "x"],
    ):
        result = imgfs("locate", "--source", f"oci:{layout}", *arguments, status=2)
        assert b"Usage: imgfs locate" in result.stderr


def test_a_pattern_that_would_be_compared_for_ever_is_an_error(imgfs: Imgfs, tmp_path: Path) -> None:
    layout = oci_layout(
        tmp_path / "layout", [TestImage([tar([Entry("f" + "a" * 60 + "b", FILE)])], ["one:1"])]
    )
    for arguments in (["-r", "f(a+)+$"], ["*a" * 12 + "*c"]):
        result = imgfs("locate", "--source", f"oci:{layout}", *arguments, status=2)
        assert result.stderr.startswith(f"imgfs: {arguments[-1]}: comparing it with one path takes".encode())


def test_json_is_printed_as_it_is_found_and_ctrl_c_ends_the_search(tmp_path: Path) -> None:
    # the second takes for ever
    layers = [tar([Entry("a/b", FILE)]), tar([Entry("f" + "a" * 60 + "b", FILE)])]
    layout = oci_layout(tmp_path / "layout", [TestImage(layers, ["one:1"])])
    command = [sys.executable, "-m", "imgfs", "locate", "--source", f"oci:{layout}"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    command += ["--json", "-r", "/b$|f(a+)+$"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["path"] == "/a/b"
        process.send_signal(signal.SIGINT)
        assert process.wait(2) == 130


def test_archives_are_searched_too(imgfs: Imgfs, tmp_path: Path) -> None:
    archive = docker_archive(tmp_path / "one.tar", [TestImage([tar(BASE)], ["one:1"])])
    for _ in range(2):
        result = imgfs("locate", "--source", str(archive), "passwd")
        assert b"one:1" in result.stdout


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A data root of Docker with two images, and a container of each."""
    images = [TestImage([tar(BASE)], ["one:1"]), TestImage([tar(BASE), tar(CHANGED)], ["two:1"])]
    root = docker_root(tmp_path / "root", images)
    for number, image in enumerate(images, 1):
        docker_container(root, image, number)
    return root


def test_containers_of_images_are_printed(imgfs: Imgfs, docker: Path) -> None:
    found = imgfs("locate", "--source", f"docker:{docker}", "--deleted", "*.pem").stdout.decode().splitlines()
    assert found == [
        "/etc/key.pem",
        f"  {short(BASE)}  one:1",
        "    containers  name1",
        "    deleted in  two:1",
        "    containers  name2",
    ]
    (line,) = imgfs("locate", "--source", f"docker:{docker}", "--json", "*.pem").stdout.splitlines()
    assert json.loads(line)["containers"] == ["name1"]


def test_a_container_that_is_removed_is_not_printed_any_more(imgfs: Imgfs, docker: Path) -> None:
    for container in ("name2", "name1"):
        time.sleep(0.1)
        for _ in range(2):
            assert container in imgfs("locate", "--source", f"docker:{docker}", "passwd").stdout.decode()
        shutil.rmtree(docker / "containers" / (container[-1] * 64))
        assert container not in imgfs("locate", "--source", f"docker:{docker}", "passwd").stdout.decode()


def test_it_is_what_find_finds_in_every_image(imgfs: Imgfs, docker: Path) -> None:
    for pattern in ("*", "/etc/*", "[a-m]*", "**/*.jar"):
        found: dict[str, list[str]] = {}
        for line in imgfs("locate", "--source", f"docker:{docker}", "--json", pattern).stdout.splitlines():
            hit = json.loads(line)
            for image in [*hit["images"], *hit["containers"]]:
                found.setdefault(image, []).append(hit["path"])
        for image in ("one:1", "two:1"):
            lines = imgfs(
                "find", "--json", image, "--source", f"docker:{docker}", pattern
            ).stdout.splitlines()
            assert sorted(found[image]) == sorted(json.loads(line)["path"] for line in lines)


AS_FIND = [
    (["--perm", "/6000"], ["-perm", "/6000"]),
    (["--perm", "-u+x,g=x"], ["-perm", "-u+x,g=x"]),
    (["--perm", "644", "--type", "f"], ["-type", "f", "-perm", "644"]),
    (["--type", "d,l"], ["-type", "d,l"]),
    (["--user", "1000"], ["-uid", "1000"]),
    (["--group", "0"], ["-gid", "0"]),
    *(
        (["--size", size], ["-type", "f", "-size", size])
        for size in ("0", "1", "6c", "+5c", "-7c", "+2k", "3k", "-1M")
    ),
    (["--mtime", "+300"], ["-mtime", "+300"]),
    (["--mtime", "-300"], ["-mtime", "-300"]),
    (["--newer", "2023-11-01"], ["-newermt", "2023-11-01"]),
    (["p*"], ["-name", "p*"]),
    (["-i", "-b", "P*"], ["-iname", "P*"]),
    (["-i", "ETC"], ["-ipath", "*ETC*"]),
    (["-r", "/u[^/]*r?/|[0-9]"], ["-regextype", "posix-extended", "-regex", ".*(/u[^/]*r?/|[0-9]).*"]),
    (["*", "--size", "+0", "--user", "0"], ["-type", "f", "-size", "+0", "-uid", "0"]),
]


def test_it_is_what_find_finds_in_mounted_root_file_systems(imgfs: Imgfs, layout: Path, mount: Mount) -> None:
    with mount(f"oci:{layout}") as top:
        for ours, theirs in AS_FIND:
            found: dict[str, set[str]] = {"one:1": set(), "two:1": set()}
            result = imgfs("locate", "--source", f"oci:{layout}", "--json", *ours, status=None)
            assert result.returncode in (0, 1)
            for line in result.stdout.splitlines():
                hit = json.loads(line)
                for image in hit["images"]:
                    found[image].add("." + hit["path"])
            for image, paths in found.items():
                command = ["find", ".", "-mindepth", "1", *theirs, "-print0"]
                place = top / "tags" / image.replace(":", "/") / "rootfs"
                listed = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, check=True).stdout
                assert paths == {os.fsdecode(path) for path in listed.split(b"\0")[:-1]}, ours


def test_a_user_without_a_cache_has_the_same_answer(
    imgfs: Imgfs, layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = lines(imgfs, layout, "passwd")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    for _ in range(2):
        assert lines(imgfs, layout, "passwd") == wanted


def test_several_processes_at_once_have_the_same_answer(imgfs: Imgfs, layout: Path) -> None:
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda number: lines(imgfs, layout, "-c", "passwd"), range(6)))
    assert found == [["2"]] * 6


def test_indexing_does_it_ahead_of_time(imgfs: Imgfs, files: Path, layout: Path) -> None:
    imgfs("index", str(layout))
    before = kept(files)
    assert before
    assert lines(imgfs, layout, "-c", "passwd") == ["2"]
    assert kept(files) == before


def test_a_mount_does_it_in_the_background(imgfs: Imgfs, mount: Mount, files: Path, layout: Path) -> None:
    with mount(f"oci:{layout}", options="locate"):
        deadline = time.monotonic() + 20
        while not kept(files):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    before = kept(files)
    assert lines(imgfs, layout, "-c", "passwd") == ["2"]
    assert kept(files) == before


def test_the_cache_says_what_it_is_for(imgfs: Imgfs, layout: Path) -> None:
    lines(imgfs, layout, "passwd")
    assert imgfs("cache", "ls").stdout.count(b"for imgfs locate") >= 1


@pytest.mark.usefixtures("environment")
def test_long_lists_of_names_are_cut_on_a_terminal(tmp_path: Path) -> None:
    images = [
        TestImage([tar(BASE)], [f"image:{number}"], extra={"author": str(number)}) for number in range(100)
    ]
    command = ["locate", "--source", f"oci:{oci_layout(tmp_path / 'many', images)}", "passwd"]
    in_terminal("index", command[2])
    shown = in_terminal(*command).splitlines()
    assert max(map(len, shown)) <= 80
    assert shown[-1].endswith("more (--no-trunc)")
    assert len(in_terminal(*command, "--no-trunc")) > 800


def test_a_layer_is_indexed_once_however_many_stacks_have_it(
    imgfs: Imgfs, tmp_path: Path, files: Path
) -> None:
    layers = [tar([Entry(f"file-{number}", FILE)]) for number in range(4)]
    stacks = [[layers[0], layers[3]], [layers[1], layers[3]], [layers[2], layers[3]]]
    images = [TestImage(stack, [f"image:{number}"]) for number, stack in enumerate(stacks)]
    for compression in ("gzip", "none"):
        layout = oci_layout(tmp_path / compression, images, compression)
        assert lines(imgfs, layout, "-c", "file-3") == ["1"]
        (name,) = kept(files)
        assert (files / name).read_bytes().count(b"file-3") == 1
        (files / name).unlink()


def test_a_store_in_a_default_place_is_found_when_it_appears_and_changes(
    imgfs: Imgfs, tmp_path: Path
) -> None:
    def found() -> bool:
        name = "a-name-that-no-other-image-has"
        return name.encode() in imgfs("locate", "-q", name, status=None).stdout

    assert not found()
    layer = tar([Entry("a-name-that-no-other-image-has", FILE)])
    imgfs("load", "-q", "-i", docker_archive(tmp_path / "one.tar", [TestImage([layer], ["locate/test:1"])]))
    for _ in range(2):
        time.sleep(0.1)
        assert found()
    imgfs("rm", "locate/test:1")
    assert not found()
