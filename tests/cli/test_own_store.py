"""Changing the store: `imgfs load`, `import`, `tag` and `rm`."""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.damage import flip
from tests.images import TestImage, digest, docker_archive, layer_tar, new_docker_archive, oci_layout
from tests.tools import require_tool


def _ids(imgfs: Imgfs) -> dict[str, dict[str, object]]:
    return {row["id"]: row for row in json.loads(imgfs("ls", "--json").stdout)}


def stored_digest(image: TestImage) -> str:
    """The name of the blob of an image's only layer, as `oci_layout` stores it."""
    return digest(gzip.compress(image.layers[0], 6, mtime=0))[7:]


def _last_line(output: bytes) -> str:
    return output.decode().splitlines()[-1]


def test_load_takes_every_image_with_names_and_parents(
    imgfs: Imgfs, archive: Path, images: list[TestImage]
) -> None:
    done = imgfs("load", archive)
    assert _last_line(done.stdout) == images[-1].id
    rows = _ids(imgfs)
    assert rows.keys() == {image.id for image in images}
    for image in images:
        assert rows[image.id]["tags"] == list(image.tags)
        assert rows[image.id]["parent"] == (image.parent.id if image.parent else None)
        assert rows[image.id]["size"] == len(image.verbatim)


def test_load_reads_standard_input_compressed_or_not(
    imgfs: Imgfs, archive: Path, images: list[TestImage]
) -> None:
    imgfs("load", stdin=archive.read_bytes())
    imgfs(
        "--debug",
        "load",
        "-",
        "--store",
        archive.parent / "other",
        stdin=gzip.compress(archive.read_bytes(), 1),
    )
    assert _ids(imgfs).keys() == {image.id for image in images}
    listed = json.loads(imgfs("ls", "--json", f"imgfs:{archive.parent / 'other'}").stdout)
    assert {row["id"] for row in listed} == {image.id for image in images}


@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress])
def test_load_and_import_take_what_is_compressed_as_xz_or_bzip2(
    imgfs: Imgfs, archive: Path, images: list[TestImage], pack: Callable[[bytes], bytes]
) -> None:
    packed, layer = archive.parent / "packed", archive.parent / "layer"
    packed.write_bytes(pack(archive.read_bytes()))
    imgfs("load", packed)
    assert _ids(imgfs).keys() == {image.id for image in images}
    plain = layer_tar({"file": b"content"})
    layer.write_bytes(pack(plain))
    image_id = _last_line(imgfs("import", layer).stdout)
    assert imgfs("export", image_id, "--tar", "rootfs").stdout == plain


def test_what_is_in_no_known_form_is_named_in_words(imgfs: Imgfs, tmp_path: Path) -> None:
    for start, name in ((b"LZIP\x01\x0c", "lzip-compressed"), (b"\0\x1b", "neither a tar nor")):
        (tmp_path / "file").write_bytes(start * 1000)
        for command in ("load", "import"):
            done = imgfs(command, tmp_path / "file", status=1)
            (line,) = done.stderr.decode().splitlines()
            assert name in line
            assert "gzip, zstd, xz, bzip2" in line


def test_loading_again_changes_nothing(imgfs: Imgfs, archive: Path) -> None:
    imgfs("load", archive)
    before = _ids(imgfs)
    imgfs("load", "-i", archive)
    assert _ids(imgfs) == before


def test_load_keeps_layers_compressed_as_they_came(
    imgfs: Imgfs, tmp_path: Path, images: list[TestImage]
) -> None:
    layout = oci_layout(tmp_path / "layout", images[:1])
    imgfs("load", f"oci:{layout}")
    stored = set(os.listdir(tmp_path / "data/imgfs/blobs/sha256"))
    assert stored < set(os.listdir(layout / "blobs/sha256"))
    assert len(stored) == len(images[0].layers)


def test_load_refuses_a_layer_that_is_not_what_the_config_says(imgfs: Imgfs, tmp_path: Path) -> None:
    image = TestImage([layer_tar({"a": b"a"})])
    path = docker_archive(tmp_path / "bad.tar", [image])
    data = path.read_bytes()
    path.write_bytes(data.replace(image.layers[0], layer_tar({"b": b"a"})))
    done = imgfs("load", path, status=1)
    assert digest(image.layers[0]) in done.stderr.decode()
    assert not _ids(imgfs)
    assert not os.listdir(tmp_path / "data/imgfs/blobs/sha256")
    assert not os.listdir(tmp_path / "data/imgfs/tmp")


def test_load_takes_the_rest_of_what_is_broken_and_says_so(imgfs: Imgfs, tmp_path: Path) -> None:
    good = TestImage([layer_tar({"a": b"a"})], ["good:1"])
    bad = TestImage([layer_tar({"b": b"b"})], ["bad:1"], extra={"rootfs": {"diff_ids": ["sha256:zz"]}})
    done = imgfs("load", docker_archive(tmp_path / "half.tar", [bad, good]), status=1)
    assert _last_line(done.stdout) == good.id
    assert b"skipping an image" in done.stderr
    assert _ids(imgfs).keys() == {good.id}
    assert imgfs("load", docker_archive(tmp_path / "bad.tar", [bad]), status=1).stdout == b""


def test_load_goes_on_after_an_image_whose_layer_is_missing_and_names_it(
    imgfs: Imgfs, tmp_path: Path
) -> None:
    images = [TestImage([layer_tar({f"{n}": b"%d" % n})], [f"image:{n}"]) for n in range(5)]
    layout = oci_layout(tmp_path / "layout", images)
    flip(layout / "blobs/sha256" / stored_digest(images[1]))
    (layout / "blobs/sha256" / stored_digest(images[3])).unlink()
    done = imgfs("load", f"oci:{layout}", status=1)
    lines = done.stderr.decode().splitlines()
    for number in (1, 3):
        (line,) = [line for line in lines if images[number].id in line and "is not loaded" in line]
        assert f"image:{number}" in line
        assert stored_digest(images[number]) in line or digest(images[number].layers[0]) in line
    assert _ids(imgfs).keys() == {images[n].id for n in (0, 2, 4)}
    for n in (0, 2, 4):
        assert f"Loaded image: image:{n}" in done.stdout.decode()


def test_load_stops_with_one_line_when_the_disk_is_full(
    imgfs: Imgfs, tmp_path: Path, small_disk: Path
) -> None:
    images = [TestImage([layer_tar({"file": os.urandom(3 << 20)})], [f"image:{n}"]) for n in range(3)]
    archive = docker_archive(tmp_path / "large.tar", images)
    done = imgfs("load", archive, "--store", small_disk / "store", status=1)
    (line,) = done.stderr.decode().splitlines()
    assert "No space left on device" in line
    assert imgfs("verify", f"imgfs:{small_disk / 'store'}")


def test_load_refuses_what_is_no_archive(imgfs: Imgfs, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello" * 1000)
    for arguments in (("load", tmp_path / "text"), ("load", tmp_path / "absent")):
        stderr = imgfs(*arguments, status=1).stderr.decode()
        assert stderr.startswith("imgfs: ")
        assert stderr.count("\n") == 1


def test_import_makes_an_image_of_a_tar(imgfs: Imgfs, tmp_path: Path) -> None:
    layer = layer_tar({"hello": b"world"})
    (tmp_path / "layer.tar").write_bytes(layer)
    image_id = _last_line(imgfs("import", tmp_path / "layer.tar", "-t", "me/hello").stdout)
    assert _ids(imgfs)[image_id]["tags"] == ["me/hello:latest"]
    assert imgfs("export", "me/hello", "--tar", "rootfs").stdout == layer
    assert imgfs("export", image_id[7:20], "--tar", "verbatim").stdout == layer


def test_import_takes_compressed_tars_and_standard_input(imgfs: Imgfs) -> None:
    layer = layer_tar({"hello": b"world" * 10_000})
    image_id = _last_line(imgfs("import", "-", stdin=gzip.compress(layer)).stdout)
    assert imgfs("export", image_id, "--tar", "rootfs").stdout == layer


def test_import_puts_layers_on_a_parent(imgfs: Imgfs, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    base = _last_line(
        imgfs("import", tmp_path / "one", tmp_path / "two", "--tag", "base", "-c", "ENV A=1").stdout
    )
    child = _last_line(imgfs("import", tmp_path / "three", "--parent", "base", "-c", "ENV B=2").stdout)
    described = json.loads(imgfs("inspect", child).stdout)[0]
    assert described["Parent"] == base
    assert described["Config"]["Env"] == ["A=1", "B=2"]
    assert (
        len(described["ImageConfig"]["rootfs"]["diff_ids"]) == len(described["ImageConfig"]["history"]) == 3
    )
    assert json.loads(imgfs("inspect", "base").stdout)[0]["Children"] == [child]


def test_an_imported_directory_is_what_gnu_tar_unpacks(imgfs: Imgfs, tmp_path: Path) -> None:
    """Modes, links, fifos, long and non-UTF-8 names and extended attributes come back."""
    tar, diff = require_tool("tar"), require_tool("diff")
    source = tmp_path / "source"
    deep = source / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(os.urandom(3_000_000))
    (source / "setuid").touch()
    (source / "setuid").chmod(0o4755)
    (source / "link").symlink_to("nowhere")
    os.link(source / "setuid", source / "hard")
    os.mkfifo(source / "fifo")
    (Path(os.fsdecode(bytes(source) + b"/caf\xe9"))).write_bytes(b"latin")
    os.setxattr(source / "setuid", "user.note", b"\xff\x00binary")
    image_id = _last_line(imgfs("import", source).stdout)
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    exported = imgfs("export", "--tar", "rootfs", image_id).stdout
    subprocess.run([tar, "--xattrs", "-xpf", "-", "-C", unpacked], input=exported, check=True)
    subprocess.run([diff, "-r", "--no-dereference", "-x", "fifo", source, unpacked], check=True)
    assert os.stat(unpacked / "setuid").st_mode == os.stat(source / "setuid").st_mode
    assert os.stat(unpacked / "setuid").st_ino == os.stat(unpacked / "hard").st_ino
    assert os.stat(unpacked / "fifo").st_mode == os.stat(source / "fifo").st_mode
    assert os.getxattr(unpacked / "setuid", "user.note") == b"\xff\x00binary"


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize("make", [docker_archive, new_docker_archive])
def test_an_archive_of_images_is_to_be_loaded(
    imgfs: Imgfs,
    tmp_path: Path,
    images: list[TestImage],
    make: Callable[[Path, list[TestImage]], Path],
    compress: Callable[[bytes], bytes],
) -> None:
    data = compress(make(tmp_path / "plain", images).read_bytes())
    (tmp_path / "x.tar").write_bytes(data)
    done = imgfs("import", tmp_path / "x.tar", status=1)
    path = str(tmp_path / "x.tar").encode()
    assert done.stderr == b"imgfs: %b: an archive of images, which imgfs load takes\n" % path
    assert b"standard input: an archive of images" in imgfs("import", "-", stdin=data, status=1).stderr
    imgfs("load", tmp_path / "x.tar")


def test_a_layout_is_to_be_loaded(imgfs: Imgfs, tmp_path: Path, images: list[TestImage]) -> None:
    layout = oci_layout(tmp_path / "layout", images)
    assert b"layout: images, which imgfs load takes" in imgfs("import", layout, status=1).stderr


def test_a_root_file_system_with_names_of_an_archive_is_imported(imgfs: Imgfs, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(layer_tar({"manifest.json": b"[]", "etc/": None}))
    imgfs("import", tmp_path / "x.tar")


def test_import_refuses_what_is_no_tar(imgfs: Imgfs, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"hello" * 1000)
    assert b"Traceback" not in imgfs("import", tmp_path / "text", status=1).stderr
    assert imgfs("import", tmp_path / "absent", status=1).stderr.count(b"\n") == 1
    truncated = gzip.compress(layer_tar({"a": os.urandom(100_000)}))[:-1000]
    imgfs("import", "-", stdin=truncated, status=1)
    assert not _ids(imgfs)


def test_imports_are_reproducible(imgfs: Imgfs, tmp_path: Path, monkeypatch: object) -> None:
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    try:
        first, second = (imgfs("import", "-", stdin=layer_tar({"a": b"a"})).stdout for _ in range(2))
    finally:
        del os.environ["SOURCE_DATE_EPOCH"]
    assert first == second


def test_what_docker_save_compatible_tools_write_is_loaded(
    imgfs: Imgfs, tmp_path: Path, images: list[TestImage]
) -> None:
    skopeo = require_tool("skopeo")
    layout = oci_layout(tmp_path / "layout", images)
    target = tmp_path / "skopeo.tar"
    tag = images[-1].tags[0]
    subprocess.run(
        [skopeo, "copy", "-q", f"oci:{layout}:{tag}", f"docker-archive:{target}:{tag}"], check=True
    )
    imgfs("load", target)
    with tarfile.open(target) as saved:
        assert "manifest.json" in saved.getnames()
    assert imgfs("export", images[-1].id, "--tar", "verbatim").stdout == images[-1].verbatim


def test_import_refuses_a_tar_that_goes_on_behind_a_lone_block_of_zeros(imgfs: Imgfs, tmp_path: Path) -> None:
    """As docker import and podman import do."""
    (tmp_path / "x.tar").write_bytes(layer_tar({"a": b"1"})[:1024] + bytes(512) + layer_tar({"b": b"2"}))
    stderr = imgfs("import", tmp_path / "x.tar", status=1).stderr
    assert stderr.count(b"\n") == 1
    error = _last_line(stderr)
    assert "not a sound tar: data follows the block of zeros that ends it, at offset 1024" in error
    assert not _ids(imgfs)


@pytest.fixture
def filled(imgfs: Imgfs, archive: Path) -> Path:
    """The default store with the family loaded; returns its folder."""
    imgfs("load", archive)
    return archive.parent / "data/imgfs"


def _tags(imgfs: Imgfs) -> dict[str, list[str]]:
    return {row["id"]: row["tags"] for row in json.loads(imgfs("ls", "--json").stdout)}


def test_a_name_moves_to_the_image_it_is_given_to(
    imgfs: Imgfs, filled: Path, images: list[TestImage]
) -> None:
    base, child, _ = images
    imgfs("tag", "example/base:1", "new")
    assert "new:latest" in _tags(imgfs)[base.id]
    imgfs("tag", child.id[7:19], "new:latest")
    assert "new:latest" not in _tags(imgfs)[base.id]
    assert "new:latest" in _tags(imgfs)[child.id]


@pytest.mark.parametrize("name", ["UPPER", "a b", "-x", "x:", "x:" + "t" * 129, "../x", ""])
def test_names_that_docker_refuses_are_refused(imgfs: Imgfs, filled: Path, name: str) -> None:
    assert b"not a valid name" in imgfs("tag", "--", "example/base:1", name, status=1).stderr


def test_an_unknown_or_ambiguous_image_is_one_line(imgfs: Imgfs, filled: Path) -> None:
    for command in (["rm", "nonesuch"], ["tag", "nonesuch", "a"], ["import", "--parent", "nonesuch", "."]):
        line = imgfs(*command, status=1).stderr.decode()
        assert line.startswith("imgfs: No such image: nonesuch (looked in imgfs:/") and line.count("\n") == 1
    assert imgfs("rm", "", status=1).stderr.count(b"\n") == 1


def test_rm_refuses_an_image_with_children(imgfs: Imgfs, filled: Path, images: list[TestImage]) -> None:
    assert b"child" in imgfs("rm", "example/base:1", status=1).stderr
    assert images[0].id in _tags(imgfs)


def test_rm_by_force_leaves_children_without_a_parent(
    imgfs: Imgfs, filled: Path, images: list[TestImage]
) -> None:
    imgfs("rm", "--force", images[0].id)
    rows = {row["id"]: row for row in json.loads(imgfs("ls", "--json").stdout)}
    assert rows.keys() == {image.id for image in images[1:]}
    assert rows[images[1].id]["parent"] is None
    assert imgfs("export", images[1].id, "--tar", "verbatim").stdout == images[1].verbatim


def test_rm_frees_the_layers_that_nobody_else_has(
    imgfs: Imgfs, filled: Path, images: list[TestImage]
) -> None:
    count = len(os.listdir(filled / "blobs/sha256"))
    assert count == 4
    imgfs("rm", images[2].id[7:17])
    assert len(os.listdir(filled / "blobs/sha256")) == 3
    imgfs("rm", "--force", "example/child")
    imgfs("rm", "example/base:1")
    assert not _tags(imgfs)
    for folder in (
        "blobs/sha256",
        "layers/sha256",
        "tmp",
        "imagedb/content/sha256",
        "imagedb/metadata/sha256",
    ):
        assert os.listdir(filled / folder) == []


def test_rm_by_one_of_several_names_only_takes_the_name(
    imgfs: Imgfs, filled: Path, images: list[TestImage]
) -> None:
    imgfs("tag", images[2].id, "example/other")
    assert imgfs("rm", "example/other").stdout == b"Untagged: example/other:latest\n"
    assert _tags(imgfs)[images[2].id] == list(images[2].tags)
    imgfs("tag", images[2].id, "example/other")
    assert b"several names" in imgfs("rm", images[2].id, status=1).stderr


def test_rm_takes_a_name_without_what_engines_put_before_it(
    imgfs: Imgfs, filled: Path, images: list[TestImage]
) -> None:
    image_id = images[2].id
    imgfs("tag", image_id, "docker.io/library/foo")
    assert imgfs("rm", "foo").stdout == b"Untagged: docker.io/library/foo:latest\n"
    assert _tags(imgfs)[image_id] == list(images[2].tags)


def test_rm_does_not_send_names_control_characters_to_the_terminal(imgfs: Imgfs, tmp_path: Path) -> None:
    names = ["evil\x1b[2J:1", "evil\x1b[2J:2"]
    imgfs("load", docker_archive(tmp_path / "evil.tar", [TestImage([layer_tar({"a": b""})], names)]))
    shown = imgfs("rm", names[0]).stdout + imgfs("rm", names[1]).stdout
    assert shown.count(b"Untagged: evil\\x1b[2J:") == 2
    assert b"\x1b" not in shown
