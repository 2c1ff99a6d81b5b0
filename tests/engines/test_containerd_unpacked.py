"""Images of a real containerd whose layers are there only as it has unpacked them: their blobs are gone."""

import errno
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.errors import StoreError
from imgfs.layers import Indexer
from imgfs.rootfs import RootFS, TreeCache
from imgfs.sources import Source, open_source
from tests.conftest import Imgfs, Mount
from tests.engines.containerd import Containerd, archives
from tests.engines.containerd import containerd as running
from tests.engines.engine import run
from tests.engines.machine import machine
from tests.engines.unpacker import CONFIG, EROFS, EROFS_TAR_INDEX, SNAPSHOTTERS, Unpacker
from tests.images import TestImage, digest
from tests.indexing import indexing
from tests.kernel import kernel_has_erofs
from tests.tar.go_programs import compiled
from tests.tree.stacks import EXAMPLE, Entry, real_facts, tar

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
NAME = "example/unpacked:1"
LAYERS = [tar(layer) for layer in EXAMPLE]


@pytest.fixture(scope="module")
def image() -> TestImage:
    return TestImage(LAYERS, [NAME])


@pytest.fixture(scope="module", params=SNAPSHOTTERS)
def snapshotter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def containerd(
    suite: str, tmp_path_factory: pytest.TempPathFactory, snapshotter: str
) -> Iterator[Containerd]:
    with machine(suite) as inside:
        version = run(*inside.line("containerd", "--version")).split()[2]
        config = CONFIG if snapshotter == EROFS and version >= "2.1" else ""
        folder = tmp_path_factory.mktemp("containerd")
        with running(inside, folder, folder / "root", config) as started:
            yield started


@pytest.fixture(scope="module")
def unpacker(containerd: Containerd, snapshotter: str) -> Unpacker:
    return Unpacker(containerd, snapshotter)


def discard(containerd: Containerd, unpacker: Unpacker, before: set[Path]) -> None:
    """Remove the blobs of layers, but for those of before, unless containerd has done so itself."""
    containerd.collect_garbage()
    for blob in set(containerd.blobs.iterdir()) - before:
        if not blob.read_bytes().startswith(b"{"):
            assert not unpacker.has_discarded, "blobs are still there"
            blob.unlink()


@pytest.fixture(scope="module", autouse=True)
def snapshot(
    containerd: Containerd,
    unpacker: Unpacker,
    tmp_path_factory: pytest.TempPathFactory,
    image: TestImage,
) -> Iterator[Path]:
    """What a container of the image sees, which is unpacked, and whose layers' blobs are gone."""
    (archive,) = archives(tmp_path_factory.mktemp("archives"), [image])
    unpacker.unpack(image, archive)
    with unpacker.mounted(NAME, containerd.root.parent / "seen") as seen:
        discard(containerd, unpacker, set())
        yield seen


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with indexing(tmp_path) as made:
        yield made


@pytest.fixture
def source(containerd: Containerd, indexer: Indexer) -> Iterator[Source]:
    with closing(open_source(f"containerd:{containerd.root}", indexer)) as opened:
        yield opened


def facts(top: Path) -> dict[bytes, tuple[object, ...]]:
    """What is in a tree, without numbers of links, which overlayfs says of a layer's directory."""
    return {path: (*of[:3], *of[4:]) for path, of in real_facts(top).items()}


def test_the_mount_shows_what_a_container_sees_and_tars_only_where_they_are_kept(
    containerd: Containerd, snapshotter: str, snapshot: Path, mount: Mount
) -> None:
    with mount(f"containerd:{containerd.root}") as top:
        image = top / "tags" / NAME
        shown = facts(image / "rootfs")
        assert shown == facts(snapshot)
        root = (image / "rootfs").stat()
        assert (root.st_mode, root.st_mtime_ns) == (snapshot.stat().st_mode, snapshot.stat().st_mtime_ns)
        assert shown[b"s"][3] == 1_600_000_000_987_654_321
        if snapshotter == EROFS_TAR_INDEX:
            assert len((image / "rootfs.tar").read_bytes()) == sum(map(len, LAYERS))
            assert len((image / "docker.tar").read_bytes()) > sum(map(len, LAYERS))
        else:
            for name in ("docker.tar", "oci/index.json", "rootfs.tar"):
                if os.path.lexists(image / name):  # not once the first has failed
                    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                        (image / name).read_bytes()
            assert not {"docker.tar", "oci", "rootfs.tar"} & set(os.listdir(image))
            assert json.loads((top / "oci/index.json").read_text())["manifests"] == []
        names = [name for name in sorted(os.listdir(image / "layers")) if not name.endswith(".tar")]
        assert [name.partition("-")[0] for name in names] == ["00", "01", "02"]
    with mount(f"containerd:{containerd.root}", options="kernel") as top:
        covered = top / "tags" / NAME / "rootfs"
        assert facts(covered) == shown
        assert covered.is_mount() == kernel_has_erofs()
        upper = image / "layers" / names[1]
        assert sorted(os.listdir(upper / "o")) in ([".wh..wh..opq", "new"], [".wh.hidden", "new"])
        assert os.listdir(upper / "d") == [".wh.gone"]
        with tarfile.open(image / "flat.tar") as flat:
            members = {os.fsencode(member.name): member for member in flat}
            assert members.keys() == shown.keys()
            content = flat.extractfile("a")
            assert content is not None
            assert content.read() == b"a" * 300_000


def test_commands_read_it(containerd: Containerd, snapshotter: str, imgfs: Imgfs) -> None:
    source = ("--source", f"containerd:{containerd.root}")
    assert imgfs("cat", *source, f"{NAME}:/d/old").stdout == b"newer"
    assert imgfs("find", *source, NAME, "n*").stdout == b"/o/new\n"
    assert imgfs("find", *source, NAME, "hid*", status=1).stdout == b""
    assert b"added" in imgfs("which", *source, NAME, "/o/new").stdout
    assert imgfs("which", *source, NAME, "/d/gone", status=1).stdout.count(b"\n") == 2
    done = imgfs("export", "--tar", "rootfs", *source, NAME, status=snapshotter != EROFS_TAR_INDEX)
    assert snapshotter == EROFS_TAR_INDEX or (
        b"was not pulled, or was discarded after unpacking, so that only its files are there" in done.stderr
    )


def test_a_tar_is_whole_or_an_error_that_says_why(source: Source, snapshotter: str, image: TestImage) -> None:
    if snapshotter == EROFS_TAR_INDEX:
        with source.store.get_tar_seek_stream(image.id) as stream:
            assert stream.read() == b"".join(image.layers)
        return
    with pytest.raises(
        StoreError, match=r"there is no tar of it: its blob sha256:\w+ was not pulled, or was disc"
    ):
        source.store.get_tar_seek_stream(image.id)


def test_what_goes_while_the_image_is_open_is_read_from_snapshots(
    containerd: Containerd, unpacker: Unpacker, snapshotter: str, indexer: Indexer, tmp_path: Path
) -> None:
    """As when containerd collects garbage."""
    image = TestImage(
        [tar(EXAMPLE[0]), tar([Entry("x", FILE, "x"), Entry("d/.wh.old", FILE)])], ["example/going:1"]
    )
    before = set(containerd.blobs.iterdir())
    for archive in archives(tmp_path, [image]):
        unpacker.unpack(image, archive, "going", discards=False)
    with closing(open_source(f"containerd:{containerd.root}#going", indexer)) as source:
        assert source.store.layers(image.id).has_tars
        discard(containerd, unpacker, before)
        assert source.refresh()
        layers = source.store.layers(image.id)
        assert layers.has_tars == (snapshotter == EROFS_TAR_INDEX)
        with RootFS.of(layers, TreeCache(None), "image") as root, root.open("/x") as file:
            assert file.read() == b"x"


@pytest.fixture(scope="module")
def by_go(tmp_path_factory: pytest.TempPathFactory) -> TestImage:
    """An image whose layer was written as BuildKit writes them."""
    folder = tmp_path_factory.mktemp("go")
    (folder / "l/d").mkdir(parents=True)
    (folder / "l/a").write_bytes(b"a" * 100_000)
    os.link(folder / "l/a", folder / "l/d/b")
    (folder / "l/d/c").symlink_to("x")
    (folder / "l/d" / ("e" * 120)).write_bytes(b"e")
    os.chown(folder / "l/d", 1000, 1000)
    program = [str(compiled("go_writer.go", folder)), str(folder / "l"), "false", "", ""]
    return TestImage([subprocess.run(program, check=True, capture_output=True).stdout], ["example/go:1"])


def test_a_tar_is_made_again_where_that_gives_the_same(
    containerd: Containerd, unpacker: Unpacker, by_go: TestImage, mount: Mount, tmp_path: Path
) -> None:
    before = set(containerd.blobs.iterdir())
    (archive,) = archives(tmp_path, [by_go])
    unpacker.unpack(by_go, archive, "go")
    discard(containerd, unpacker, before)
    with mount(f"containerd:{containerd.root}#go") as top:
        assert (top / "tags/example/go:1/rootfs.tar").read_bytes() == by_go.layers[0]
        blobs = top / "tags/example/go:1/oci/blobs/sha256"
        assert (blobs / digest(by_go.layers[0])[7:]).read_bytes() == by_go.layers[0]
        (made,) = (top / "tags/example/go:1/layers").glob("00-*.tar")
        assert made.stat().st_size == len(by_go.layers[0])
        assert made.read_bytes() == by_go.layers[0]
