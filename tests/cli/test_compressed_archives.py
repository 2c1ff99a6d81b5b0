"""Archives of real tools, compressed by real tools, seen as the archive itself is: mounted, listed and loaded."""

import gzip
import hashlib
import json
import mmap
import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import imgfs as imgfs_api
from tests.conftest import Imgfs, Mount
from tests.damage import cut
from tests.engines.engine import podman, run, running_docker
from tests.images import TestImage, docker_archive, layer_tar, new_docker_archive
from tests.tools import require_tool

Tree = dict[str, tuple[int, int, int, str]]
NOISE = os.urandom(2_000_000)
IMAGES = [
    TestImage(
        [
            layer_tar({"bin/": None, "bin/tool": NOISE, "zeros": bytes(10_000_000)}),
            layer_tar({"bin/.wh.tool": b"", "text": b"a line of text\n" * 1_000_000}),
        ],
        ["example/app:1"],
    ),
    TestImage([layer_tar({"etc/": None, "etc/name": b"other\n"})], ["example/other:1"]),
]
COMPRESSORS = {
    "gzip": ["gzip", "-c"],
    "pigz": ["pigz", "-c", "-p", "4"],
    "pigz-blocks": ["pigz", "-c", "-i", "-b", "128"],
    "zstd": ["zstd", "-q", "-c"],
    "zstd-threads": ["zstd", "-q", "-c", "-T0"],
    "zstd-long": ["zstd", "-q", "-c", "--long"],
    "pzstd": ["pzstd", "-q", "-c", "-p", "4"],
    "xz": ["xz", "-0", "-c"],
    "xz-blocks": ["xz", "-0", "-c", "-T2", "--block-size=1MiB"],
    "bzip2": ["bzip2", "-1", "-c"],
    "pbzip2": ["pbzip2", "-1", "-c"],
    "lbzip2": ["lbzip2", "-1", "-c"],
}


def _saved_by_docker(folder: Path, plain: Path) -> str:
    with running_docker(folder, "overlay2") as engine:
        engine.load(plain)
        engine.command("save", "-o", folder / "saved.tar", "example/app:1", "example/other:1")
    return f"docker-archive:{folder / 'saved.tar'}"


def _saved_by_podman(folder: Path, plain: Path) -> str:
    with podman(folder, "vfs") as engine:
        engine.load(plain)
        engine.save("localhost/example/app:1", folder / "saved.tar")
    return f"docker-archive:{folder / 'saved.tar'}"


def _copied_by_skopeo(form: str, *options: str) -> Callable[[Path, Path], str]:
    def copied(folder: Path, plain: Path) -> str:
        source, target = f"docker-archive:{plain}:example/app:1", f"{form}:{folder / 'copy.tar'}"
        run(require_tool("skopeo"), "copy", "-q", *options, source, f"{target}:example/app:1")
        return target

    return copied


WRITERS: dict[str, Callable[[Path, Path], str]] = {
    "docker": _saved_by_docker,
    "podman": _saved_by_podman,
    "skopeo": _copied_by_skopeo("docker-archive"),
    "skopeo-oci": _copied_by_skopeo("oci-archive"),
    "skopeo-oci-zstd": _copied_by_skopeo("oci-archive", "--dest-compress-format=zstd"),
}
TABLE = [("docker", compressor) for compressor in COMPRESSORS] + [
    (writer, compressor) for writer in list(WRITERS)[1:] for compressor in ("gzip", "zstd")
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Archives by the tool that writes them, each written once."""
    plain = docker_archive(tmp_path_factory.mktemp("plain") / "app.tar", IMAGES)
    known: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="imgfs-") as short:  # podman wants short paths

        def write(writer: str) -> str:
            if writer not in known:
                folder = Path(short, writer)
                folder.mkdir()
                known[writer] = WRITERS[writer](folder, plain)
            return known[writer]

        yield write


@pytest.fixture(scope="module")
def trees() -> dict[str, Tree]:
    """What is mounted of the archives as they were written, by the tool; filled as they are."""
    return {}


def _tree(top: Path) -> Tree:
    """All that a mount shows below `images`: mode, size, time and link or digest of the content, by path."""
    for path in top.glob("images/*/rootfs.tar"):
        path.read_bytes()  # after which `history` has the sizes of layers
    found = {}
    for folder, _, files in os.walk(top / "images"):
        for name in files:
            path = Path(folder, name)
            status = path.lstat()
            content = (
                os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
            )
            key = str(path.relative_to(top))
            found[key] = status.st_mode, status.st_size, status.st_mtime_ns, content
    return found


def _packed(archive: str, name: str, folder: Path) -> str:
    scheme, _, path = archive.partition(":")
    tool, *options = COMPRESSORS[name]
    packed = folder / f"packed-by-{name}"  # recognised by what it holds, not by its name
    with packed.open("wb") as file:
        subprocess.run([require_tool(tool), *options, path], stdout=file, check=True)
    return f"{scheme}:{packed}"


@pytest.mark.parametrize(("writer", "compressor"), TABLE)
def test_a_compressed_archive_is_mounted_as_the_archive_itself(
    mount: Mount,
    tmp_path: Path,
    written: Callable[[str], str],
    trees: dict[str, Tree],
    writer: str,
    compressor: str,
) -> None:
    archive = written(writer)
    if writer not in trees:
        with mount(archive) as top:
            trees[writer] = _tree(top)
        assert any(path.endswith("rootfs/text") for path in trees[writer])
        assert any(path.endswith("rootfs.tar") for path in trees[writer])
    packed = _packed(archive, compressor, tmp_path)
    with_and_without_scheme = packed, packed.partition(":")[2]
    for reference in with_and_without_scheme[0 if compressor == "gzip" else 1 :]:
        with mount(reference) as top:
            assert _tree(top) == trees[writer]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = new_docker_archive(tmp_path / "app.tar", IMAGES)
    packed = tmp_path / "app.tar.gz"
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    return packed


def test_every_command_takes_a_compressed_archive(imgfs: Imgfs, packed: Path) -> None:
    plain = packed.with_suffix("")
    for name in ("example/app:1", "@0"):
        for words in (
            ["find", "{}", "**"],
            ["which", "{}", "text"],
            ["cat", "{}:/text"],
            ["ls", "-lR", "{}:/"],
            ["layers"],
            ["export"],
            ["save"],
        ):
            command, *rest = words
            printed = [
                imgfs(command, *[word.format(image) for word in rest or ["{}"]]).stdout
                for image in (f"docker-archive:{plain}:{name}", f"docker-archive:{packed}:{name}")
            ]
            assert printed[0].replace(os.fsencode(plain), os.fsencode(packed)) == printed[1]
            assert printed[0]
    assert imgfs("diff", f"{plain}:example/app:1", f"{packed}:example/app:1").stdout == b""
    imgfs("verify", packed)
    imgfs("load", packed)
    assert {row["id"] for row in json.loads(imgfs("ls", "--json").stdout)} == {image.id for image in IMAGES}


def test_the_python_api_takes_a_compressed_archive(packed: Path, environment: None) -> None:
    with imgfs_api.open(packed) as images:
        assert {image.id for image in images} == {image.id for image in IMAGES}
        assert (images["example/app:1"].rootfs / "text").read_bytes() == b"a line of text\n" * 1_000_000
    with imgfs_api.open_image(f"docker-archive:{packed}:example/other:1") as image:
        assert (image.rootfs / "etc/name").read_text() == "other\n"


def test_an_archive_that_is_replaced_while_it_is_mounted_stays_as_it_was(mount: Mount, packed: Path) -> None:
    with mount(packed) as top:
        other = docker_archive(packed.parent / "other.tar", IMAGES[1:])
        os.replace(other, packed)
        assert len(os.listdir(top / "images")) == 2
        for path in top.glob("images/*/rootfs.tar"):
            assert path.read_bytes()


def test_an_archive_that_is_overwritten_while_it_is_mounted_is_an_error(mount: Mount, packed: Path) -> None:
    with mount(packed) as top:
        with packed.open("r+b") as file:
            file.write(os.urandom(packed.stat().st_size))
        with pytest.raises(OSError, match="Input/output error"):
            (top / "images" / IMAGES[0].id[7:] / "rootfs/text").read_bytes()


def test_a_bit_that_flips_after_indexing_is_noticed(imgfs: Imgfs, packed: Path) -> None:
    """Without a change of the file's times, as on a disk that fails."""
    imgfs("ls", packed)
    with packed.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        status = os.fstat(file.fileno())
        memory[len(memory) // 2] ^= 1
    os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = imgfs("export", f"docker-archive:{packed}:@0", "-o", packed.parent / "out", status=1)
    assert str(packed) in done.stderr.decode()


def test_an_archive_that_is_cut_off_is_named(imgfs: Imgfs, packed: Path) -> None:
    cut(packed)
    for command in ("ls", "verify", "load"):
        (line,) = imgfs(command, packed, status=None).stderr.decode().splitlines()
        assert line.startswith(f"imgfs: {packed}: not an archive of images: ")
        assert line.count(str(packed)) == 1


def test_a_bar_is_shown_on_a_terminal_while_an_archive_is_indexed(packed: Path, environment: None) -> None:
    shown = [_on_terminal([sys.executable, "-m", "imgfs", "ls", str(packed)]) for _ in range(2)]
    assert "app.tar.gz" in shown[0]
    assert "app.tar.gz" not in shown[1]


def _on_terminal(command: list[str]) -> str:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command, stderr=slave, stdout=subprocess.DEVNULL, env=os.environ | {"TERM": "xterm"}
    )
    os.close(slave)
    shown = b""
    with open(master, "rb", buffering=0) as file, suppress(OSError):  # EIO at the end
        while chunk := file.read(4096):
            shown += chunk
    assert process.wait() == 0
    return shown.decode()
