"""Images named in every way that users name them."""

import os
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount, eventually
from tests.images import TestImage, docker_archive, layer_tar, oci_layout
from tests.splitting import docker_root


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """An archive with one image, `a/one:latest`, with the file `name`."""
    image = TestImage([layer_tar({"name": b"one\n"})], ["a/one:latest"])
    return docker_archive(tmp_path / "one.tar", [image])


@pytest.fixture
def several(tmp_path: Path, one: Path) -> Path:
    """A layout with `a/one:latest`, which is another image than in `one`, and `a/two:latest`."""
    images = [
        TestImage([layer_tar({"name": f"other {n}\n".encode()})], [f"a/{n}:latest"]) for n in ("one", "two")
    ]
    return oci_layout(tmp_path / "several", images)


def test_every_way_to_name_one_leads_to_it(imgfs: Imgfs, one: Path, several: Path) -> None:
    imgfs("load", one)
    for image, content in {
        "a/one": b"one\n",
        "a/one:latest": b"one\n",
        "imgfs:a/one": b"one\n",
        f"{one}": b"one\n",
        f"docker-archive:{one}": b"one\n",
        f"docker-archive:{one}:a/one:latest": b"one\n",
        f"docker-archive:{one}:@0": b"one\n",
        f"oci:{several}:a/two:latest": b"other two\n",
        f"{several}:a/two:latest": b"other two\n",
    }.items():
        assert imgfs("cat", f"{image}:/name").stdout == content
    assert imgfs("diff", "a/one", f"{several}:a/one:latest").stdout.startswith(b"C ")
    assert imgfs("which", "a/one:/name").stdout == imgfs("which", "a/one", "name").stdout


def test_an_image_of_a_source_with_several_is_to_be_chosen(imgfs: Imgfs, several: Path) -> None:
    line = imgfs("cat", f"{several}:/name", status=1).stderr.decode()
    assert line == f"imgfs: {several}: 2 images are there, choose one: a/one:latest, a/two:latest\n"


def test_a_file_that_is_not_there_is_an_error_of_files(imgfs: Imgfs) -> None:
    line = imgfs("inspect", "./absent", status=1).stderr.decode()
    assert line == "imgfs: ./absent: No such file or directory\n"
    assert b"; ./absent.tar.gz is not there, either" in imgfs("inspect", "absent.tar.gz", status=1).stderr
    assert b"either" not in imgfs("inspect", "absent", status=1).stderr


def test_a_name_of_different_images_is_an_error_that_lists_them(
    imgfs: Imgfs, one: Path, several: Path
) -> None:
    line = imgfs("cat", "--source", one, "--source", several, "a/one:/name", status=1).stderr.decode()
    assert "imgfs: a/one is the name of different images; choose " in line
    assert f"docker-archive:{one}:a/one (" in line and f" or oci:{several}:a/one (" in line
    assert imgfs("cat", "--source", one, "--source", several, "a/two:/name").stdout == b"other two\n"


def test_near_names_are_suggested_and_places_named(imgfs: Imgfs, one: Path, tmp_path: Path) -> None:
    imgfs("load", one)
    line = imgfs("cat", "a/onne:/name", status=1).stderr.decode()
    assert line.startswith("imgfs: No such image or container: a/onne (looked in imgfs:")
    assert line.endswith("; did you mean a/one:latest?\n")
    assert "did you mean a/one:latest?" in imgfs("cat", "on:/name", status=1).stderr.decode()
    (tmp_path / "file").touch()


def test_a_source_is_not_named_twice(imgfs: Imgfs, one: Path) -> None:
    assert b"beside --source" in imgfs("cat", "--source", one, f"{one}:/name", status=1).stderr


def test_a_command_that_takes_a_source_takes_one_image_of_it(
    imgfs: Imgfs, mount: Mount, tmp_path: Path, several: Path
) -> None:
    two = TestImage([layer_tar({"name": b"other two\n"})], ["a/two:latest"])
    for command in (["verify"], ["index"], ["load"]):
        done = imgfs(*command, f"oci:{several}:a/two").stdout.decode()
        assert command == ["index"] or two.id in done
        assert "one" not in done
    # now in the store of imgfs: config, layer, counts
    assert imgfs("verify", "a/two").stdout.count(b"\n") == 3
    imgfs("index", "a/two")
    for source in (f"{several}:a/two", "a/two"):
        with mount(source) as top:
            assert os.listdir(top / "images") == [two.id[7:]]
            assert (top / "tags/a/two/latest/rootfs/name").read_bytes() == b"other two\n"


def test_an_image_is_loaded_under_the_name_that_it_is_given_by(imgfs: Imgfs, tmp_path: Path) -> None:
    image = TestImage([layer_tar({"name": b""})], ["a:1", "b:1"])
    archive = docker_archive(tmp_path / "a.tar", [image])
    assert imgfs("load", f"{archive}:{image.id.short}").stdout.decode() == f"{image.id}\n"
    assert imgfs("load", f"{archive}:b:1").stdout.decode() == f"Loaded image: b:1\n{image.id}\n"
    assert imgfs("inspect", image.id).stdout.count(b'"b:1"') == 1
    assert b"a:1" not in imgfs("inspect", image.id).stdout
    assert imgfs("load", archive).stdout.decode().startswith("Loaded image: a:1\nLoaded image: b:1\n")


def test_a_mounted_image_follows_its_name(imgfs: Imgfs, mount: Mount, tmp_path: Path) -> None:
    images = [TestImage([layer_tar({"name": name.encode()})], [f"{name}:1"]) for name in ("one", "two")]
    docker = docker_root(tmp_path / "docker", images)
    names = docker / "image/overlay2/repositories.json"
    with mount(f"docker:[{docker}]one:1") as top:
        assert (top / "tags/one/1/rootfs/name").read_bytes() == b"one"
        names.write_text(names.read_text().replace(images[0].id, images[1].id))
        assert eventually(lambda: os.listdir(top / "images") == [images[1].id[7:]])
        link = top / "tags/one/1"
        assert eventually(lambda: link.exists() and (link / "rootfs/name").read_bytes() == b"two")


def test_a_tag_alone_is_a_name_in_a_mount_too(imgfs: Imgfs, mount: Mount, tmp_path: Path) -> None:
    image = TestImage([layer_tar({"name": b""})], ["1.0"])
    layouts = [oci_layout(tmp_path / name, [image]) for name in ("a", "b")]
    with mount(*layouts) as top:
        assert sorted(os.listdir(top / "tags")) == ["a", "b"]
        assert os.readlink(top / "tags/a/1.0").endswith(image.id[7:])
        assert os.readlink(top / "tags/1.0") == os.readlink(top / "tags/a:1.0") == f"../images/{image.id[7:]}"
        assert not os.path.lexists(top / "tags/a/2.0") and not os.path.lexists(top / "tags/2.0")


def test_images_named_beside_a_source_are_suggested_too(imgfs: Imgfs, several: Path) -> None:
    line = imgfs("verify", several, "a/on", status=2).stderr.decode()
    assert f"(looked in oci:{several}); did you mean a/one:latest" in line
    assert "did you mean a/one:latest" in imgfs("index", several, "a/on", status=1).stderr.decode()


def test_what_changes_the_store_of_imgfs_takes_images_of_it_alone(imgfs: Imgfs, one: Path) -> None:
    imgfs("load", one)
    imgfs("tag", "imgfs:a/one", "b/one")
    for command in (["tag", f"docker-archive:{one}", "c"], ["rm", f"{one}:a/one"], ["rm", "docker:a/one"]):
        line = imgfs(*command, status=1).stderr.decode()
        assert "; imgfs load " in line
    imgfs("rm", "imgfs:a/one")
    assert b"looked in imgfs:" in imgfs("tag", "a/one", "c", status=1).stderr


def test_a_file_that_no_image_is_called_like_is_the_source(
    imgfs: Imgfs, one: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for image in ("one.tar", "one.tar:a/one"):
        assert imgfs("cat", f"{image}:/name").stdout == b"one\n"
    os.mkdir("empty")
    line = imgfs("cat", "docker:empty:/name", status=1).stderr.decode()
    assert "for the path of that name, write docker:./empty" in line
    imgfs("load", one)
    assert "did you mean imgfs:a/one:latest?" in imgfs("cat", "imgfs:a/on:/name", status=1).stderr.decode()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("docker-daemon:app", "docker:app"),
        ("podman:app:/etc", "containers-storage:app:/etc"),
        ("oci-archiv:x.tar", "oci-archive:x.tar"),
    ],
)
def test_sources_of_other_tools_are_told(imgfs: Imgfs, said: str, meant: str) -> None:
    assert f"did you mean {meant}?" in imgfs("cat", said, status=1).stderr.decode()
