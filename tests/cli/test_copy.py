"""`imgfs copy`: from every kind of source to every kind of destination, with the digests that skopeo keeps, too."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.digest import Digest
from imgfs.registry.client import RegistryClient
from imgfs.registry.configuration import Configuration
from imgfs.registry.index_artifact import find_index
from imgfs.registry.reference import Repository
from imgfs.saving.piece import CONFIG, LAYER
from tests.conftest import Imgfs, eventually
from tests.images import TestImage, digest, docker_archive, layer_tar, new_docker_archive, oci_layout
from tests.layouts import Layout, tagged
from tests.registry.serving import docker_registry
from tests.registry.uploads import uploads
from tests.sources.containerd.roots import Root
from tests.splitting import docker_root, graph_root
from tests.tools import require_tool

SOURCES = [
    "oci",
    "oci-archive",
    "docker-archive",
    "new-docker-archive",
    "containerd",
    "docker",
    "containers-storage",
    "imgfs",
]
DESTINATIONS = ["oci", "oci-archive", "docker-archive", "imgfs"]
KEEPING = ["oci", "oci-archive", "new-docker-archive"]
"""Sources that have a manifest and its blobs."""


def skopeo(*arguments: str | Path) -> bytes:
    return subprocess.run([require_tool("skopeo"), *arguments], capture_output=True, check=True).stdout


@pytest.fixture
def source(request: pytest.FixtureRequest, imgfs: Imgfs, tmp_path: Path, images: list[TestImage]) -> str:
    """The family in a source of the kind that is asked for, as a reference to which a name is added."""
    if request.param == "oci":
        return f"oci:{oci_layout(tmp_path / 'layout', images)}:"
    if request.param == "oci-archive":
        layout = oci_layout(tmp_path / "layout", images)
        subprocess.run(["tar", "-C", layout, "-cf", tmp_path / "layout.tar", "."], check=True)
        return f"oci-archive:{tmp_path / 'layout.tar'}:"
    if request.param == "new-docker-archive":
        return f"docker-archive:{new_docker_archive(tmp_path / 'new.tar', images)}:"
    if request.param == "docker":
        return f"docker:[{docker_root(tmp_path / 'docker', images)}]"
    if request.param == "containers-storage":
        return f"containers-storage:[{graph_root(tmp_path / 'graph', images)}]"
    if request.param == "containerd":
        root = Root(tmp_path / "containerd", *images)
        names = dict(zip((image.tags[0] for image in images), root.manifests, strict=True))
        root.name({"default": names})
        return f"containerd:[{root.path}]"
    archive = docker_archive(tmp_path / "family.tar", images)
    if request.param == "imgfs":
        imgfs("load", "-q", archive)
        return "imgfs:"
    return f"docker-archive:{archive}:"


def multi_platform(folder: Path) -> str:
    """A layout in which `v1` is an index of two platforms."""
    layout = Layout(folder)
    platforms = [
        layout.image(name, name, platform={"os": "linux", "architecture": name})[1]
        for name in ("amd64", "arm64")
    ]
    source = layout.finish(layout.index(*platforms, **tagged("v1")))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return source


@pytest.mark.parametrize("destination", DESTINATIONS)
@pytest.mark.parametrize("source", SOURCES, indirect=True)
def test_an_image_is_the_same_in_every_pair_of_places(
    imgfs: Imgfs,
    tmp_path: Path,
    images: list[TestImage],
    source: str,
    destination: str,
    request: pytest.FixtureRequest,
) -> None:
    child = images[1]
    out = "imgfs:" if destination == "imgfs" else f"{destination}:{tmp_path / 'out'}:"
    done = imgfs("copy", f"{source}example/child:1", f"{out}copied:2")
    assert f"Copying config {child.id}" in done.stdout.decode()
    exported = imgfs("export", "--tar", "verbatim", f"{out}copied:2").stdout
    assert exported == child.verbatim
    if destination == "imgfs":
        imgfs("verify", f"{out}copied:2")
        return
    config = skopeo("inspect", "--config", "--raw", f"{out}copied:2")
    assert config == child.config
    if destination != "docker-archive" and request.node.callspec.params["source"] in KEEPING:
        transport = "oci" if "new-docker" in request.node.callspec.params["source"] else source.split(":")[0]
        if transport == source.split(":")[0]:
            raw = skopeo("inspect", "--raw", f"{source}example/child:1")
            assert skopeo("inspect", "--raw", f"{out}copied:2") == raw
    skopeo("copy", "-q", f"{out}copied:2", f"dir:{tmp_path / 'checked'}")  # it checks every digest


INSECURE = "--dest-tls-verify=false"


@pytest.mark.parametrize("source", ["oci", "containerd", "docker", "imgfs"], indirect=True)
def test_an_image_is_pushed_as_skopeo_does(
    imgfs: Imgfs,
    tmp_path: Path,
    images: list[TestImage],
    source: str,
    address: str,
    request: pytest.FixtureRequest,
) -> None:
    child, kind = images[1], request.node.callspec.params["source"]
    out = f"docker://{address}/{kind}/app:2"
    done = imgfs("copy", INSECURE, "--digestfile", tmp_path / "digest", f"{source}example/child:1", out)
    assert f"Copying config {child.id}" in done.stdout.decode()
    raw = skopeo("inspect", "--tls-verify=false", "--raw", out)
    assert (tmp_path / "digest").read_text() == Digest.of(raw)
    if kind == "oci":
        assert skopeo("inspect", "--raw", f"{source}example/child:1") == raw
    skopeo("copy", "-q", "--src-tls-verify=false", out, f"docker-archive:{tmp_path / 'pulled'}:app")
    exported = imgfs("export", "--tar", "verbatim", f"docker-archive:{tmp_path / 'pulled'}").stdout
    assert exported == child.verbatim
    again = imgfs("copy", INSECURE, f"{source}example/child:1", out).stdout.decode().splitlines()
    assert len([line for line in again if "already exists" in line]) == 4
    assert imgfs("copy", "-q", INSECURE, f"{source}example/child:1", f"{out}@{Digest.of(raw)}").stdout == b""
    other = f"docker://{address}/{kind}/app@sha256:{'0' * 64}"
    done = imgfs("copy", INSECURE, f"{source}example/child:1", other, status=1)
    assert f"what is copied has the digest {Digest.of(raw)}" in done.stderr.decode()


def _layers(raw: bytes) -> list[tuple[str, str]]:
    """The types and the digests of the layers of a manifest."""
    return [(layer["mediaType"].removeprefix(LAYER), layer["digest"]) for layer in json.loads(raw)["layers"]]


def test_layers_are_compressed_for_a_registry_and_where_that_is_asked_for(
    imgfs: Imgfs, tmp_path: Path, images: list[TestImage], archive: Path, layout: Path, address: str
) -> None:
    child = images[1]
    tars = [digest(layer) for layer in child.layers]

    def copied(name: str, *options: str, source: str = f"{archive}:example/child:1") -> bytes:
        out = name if ":" in name else f"docker://{address}/compressed/{name}"
        imgfs("copy", "-q", *options, *([] if ":" in name else [INSECURE]), source, out)
        raw = skopeo("inspect", "--tls-verify=false", "--raw", out)
        assert json.loads(raw)["config"]["digest"] == child.id
        skopeo("copy", "-q", "--src-tls-verify=false", out, f"dir:{tmp_path / 'checked'}")
        shutil.rmtree(tmp_path / "checked")
        exported = imgfs("export", "--tls-verify=false", "--tar", "verbatim", out).stdout
        assert exported == child.verbatim
        return raw

    by_gzip, by_zstd = copied("gzip"), copied("zstd", "--dest-compress-format", "zstd")
    assert [kind for kind, _ in _layers(by_gzip)] == ["+gzip"] * len(tars)
    assert [kind for kind, _ in _layers(by_zstd)] == ["+zstd"] * len(tars)
    assert copied("again") == by_gzip
    assert _layers(copied("plain", "--dest-decompress")) == [("", tar) for tar in tars]
    assert _layers(copied(f"oci:{tmp_path}/out:1")) == [("", tar) for tar in tars]
    assert copied(f"oci:{tmp_path}/out:2", "--dest-compress") == by_gzip
    # what is stored by gzip is kept, unless another way is asked for
    stored = f"oci:{layout}:example/child:1"
    raw = skopeo("inspect", "--raw", stored)
    assert copied("kept", "--dest-compress-format=gzip", source=stored) == raw
    assert copied("other", "--dest-compress-format=zstd", source=stored) == by_zstd


@pytest.mark.parametrize(
    "arguments",
    [
        ("--dest-decompress", "--dest-compress", "oci:out"),
        ("--all", "--dest-compress-format=zstd", "oci:out"),
        ("--dest-compress", "docker-archive:out"),
    ],
)
def test_what_cannot_be_compressed_is_wrong_usage(
    imgfs: Imgfs, archive: Path, arguments: tuple[str, ...]
) -> None:
    *options, out = arguments
    assert b"--dest-" in imgfs("copy", *options, f"{archive}:example/child:1", out, status=2).stderr


def test_every_platform_is_pushed(imgfs: Imgfs, tmp_path: Path, address: str) -> None:
    source = multi_platform(tmp_path / "multi")
    out = f"docker://{address}/multi"
    done = imgfs("copy", "--all", INSECURE, f"{source}:v1", out)
    assert done.stdout.decode().splitlines()[-1] == "Writing manifest list to image destination"
    raw = skopeo("inspect", "--raw", f"{source}:v1")
    assert skopeo("inspect", "--raw", "--tls-verify=false", f"{out}:latest") == raw
    skopeo("copy", "-q", "--all", "--src-tls-verify=false", out, f"dir:{tmp_path / 'checked'}")
    for place, insecure in ((out, ["--src-tls-verify=false"]), (f"{source}:v1", [])):
        assert len(imgfs("copy", "--all", *insecure, place, "imgfs:all").stdout.splitlines()) == 2
        assert len(imgfs("ls", "-a", "-q", "imgfs:").stdout.splitlines()) == 2
        imgfs("rm", "-f", *imgfs("ls", "-a", "-q", "imgfs:").stdout.decode().split())


def test_an_image_of_a_registry_is_copied(
    imgfs: Imgfs, tmp_path: Path, layout: Path, images: list[TestImage], address: str
) -> None:
    place, child = f"docker://{address}/from/app", images[1]
    insecure = "--src-tls-verify=false"
    imgfs("copy", "-q", INSECURE, f"oci:{layout}:example/child:1", f"{place}:1")
    raw = skopeo("inspect", "--raw", f"oci:{layout}:example/child:1")
    for source in (f"{place}:1", f"{place}@{Digest.of(raw)}"):
        for form in ("oci", "oci-archive"):
            out = f"{form}:{tmp_path / Digest.of(source.encode()).short}.{form}:2"
            imgfs("copy", insecure, source, out)
            assert skopeo("inspect", "--raw", out) == raw
    imgfs("copy", insecure, f"{place}:1", f"docker-archive:{tmp_path / 'saved'}:app")
    assert imgfs("export", "--tar", "verbatim", tmp_path / "saved").stdout == child.verbatim
    assert (
        imgfs("copy", insecure, f"{place}:1", "imgfs:mine").stdout.decode() == f"Copying config {child.id}\n"
    )
    assert imgfs("export", "--tar", "verbatim", "imgfs:mine").stdout == child.verbatim
    both = "--tls-verify=false"
    log = imgfs("-v", "copy", both, f"{place}:1", f"docker://{address}/to/app:3").stderr.decode()
    assert skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{address}/to/app:3") == raw
    assert len(re.findall(r"POST .*/to/app/blobs/uploads/ 201", log)) == 4  # all mounted
    assert not re.findall(r"GET .*/blobs/", log.partition("/to/app/")[2])


def test_the_index_of_an_image_goes_along(imgfs: Imgfs, tmp_path: Path, address: str) -> None:
    image = TestImage([layer_tar({"large": os.urandom(2 << 20)})], ["large:1"])
    layout = oci_layout(tmp_path / "layout", [image])
    places = [f"docker://{address}/indexed/{name}:1" for name in "abc"]
    insecure = "--tls-verify=false"
    imgfs("copy", "-q", insecure, f"oci:{layout}", places[0])
    imgfs("copy", "-q", insecure, places[0], places[1])
    said = imgfs("index", insecure, "--push", places[0]).stderr.decode()
    imgfs("copy", "-q", insecure, places[0], places[2])
    with closing(RegistryClient(Configuration.load(tls_verify=False))) as client:
        repositories = [client.repository(Repository(address, f"indexed/{name}")) for name in "abc"]
        found = [find_index(each, each.manifest("1").digest) for each in repositories]
        assert found[1] is None  # there was none yet
        assert found[0] is not None
        assert found[2] is not None
        assert found[0].digest == found[2].digest
        assert found[0].digest in said
        for layer, parts in found[0].parts.items():
            for kind in parts:
                assert found[2].read(layer, kind) == found[0].read(layer, kind)


def test_two_copies_at_once_do_not_hurt_each_other(
    imgfs: Imgfs, tmp_path: Path, layout: Path, address: str
) -> None:
    for out in (f"oci:{tmp_path / 'shared'}:{{}}", f"docker://{address}/shared:{{}}"):
        if out.startswith("oci:"):  # a new one is whole at once, and not added to
            imgfs("copy", f"oci:{layout}:example/base:1", out.format("first"))
        command = [sys.executable, "-m", "imgfs", "copy", "-q", INSECURE]
        copies = [
            subprocess.Popen([*command, f"oci:{layout}:example/{name}:1", out.format(name)])
            for name in ("base", "child")
        ]
        assert [copy.wait() for copy in copies] == [0, 0]
        for name in ("base", "child"):
            insecure = ["--tls-verify=false"] if out.startswith("docker") else []
            raw = skopeo("inspect", "--raw", *insecure, out.format(name))
            assert raw == skopeo("inspect", "--raw", f"oci:{layout}:example/{name}:1")


def test_who_may_not_push_is_told_so(
    imgfs: Imgfs, tmp_path: Path, layout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = f"oci:{layout}:example/base:1"
    readonly = {"maintenance": {"readonly": {"enabled": True}}}
    with docker_registry(tmp_path / "readonly", storage=readonly) as address:
        done = imgfs("copy", INSECURE, image, f"docker://{address}/app", status=1)
        (line,) = done.stderr.decode().splitlines()
        assert f"docker://{address}/app: blob sha256:" in line
        assert "it takes no uploads, as one that is read-only" in line
    (tmp_path / "passwords").write_text(
        subprocess.run(
            [require_tool("htpasswd"), "-Bbn", "me", "secret"], capture_output=True, check=True, text=True
        ).stdout
    )
    locked = {"htpasswd": {"realm": "r", "path": str(tmp_path / "passwords")}}
    with docker_registry(tmp_path / "locked", auth=locked) as address:
        out = f"docker://{address}/app:1"
        done = imgfs("copy", INSECURE, image, out, status=1)
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith(f"imgfs: docker://{address}/app: ")
        assert "wants a name and a password" in line
        wrong = imgfs("--debug", "copy", INSECURE, "--dest-creds=me:hunter2", image, out, status=1).stderr
        assert b"it refuses the credentials" in wrong
        assert b"hunter2" not in wrong
        log = imgfs("--debug", "copy", INSECURE, "--dest-creds", "me:secret", image, out).stderr
        assert b"secret" not in log
        assert b"POST" in log
        auths = {"auths": {address: {"auth": base64.b64encode(b"me:secret").decode()}}}
        (tmp_path / "auth.json").write_text(json.dumps(auths))
        imgfs("copy", INSECURE, "--dest-authfile", tmp_path / "auth.json", image, out)
        again = ("copy", "--tls-verify=false", out, f"docker://{address}/again:1")
        imgfs(*again, "--authfile", tmp_path / "auth.json")
        imgfs(*again, "--src-creds=me:secret", "--dest-creds=me:secret")
        for one in ("--src-creds=me:secret", "--dest-creds=me:secret"):
            assert b"wants a name and a password" in imgfs(*again, one, status=1).stderr


@pytest.fixture
def layout(tmp_path: Path, images: list[TestImage]) -> Path:
    """The family as a layout."""
    return oci_layout(tmp_path / "layout", images)


def index_of(layout: Path) -> list[dict[str, object]]:
    """What a layout lists: digests by their tags."""
    manifests: list[dict[str, object]] = json.loads((layout / "index.json").read_text())["manifests"]
    return manifests


def names_of(layout: Path) -> list[tuple[object, object]]:
    key = "org.opencontainers.image.ref.name"
    return [(m.get("annotations", {}).get(key), m["digest"]) for m in index_of(layout)]  # type: ignore[attr-defined]


def test_a_layout_is_added_to_as_skopeo_does(imgfs: Imgfs, tmp_path: Path, layout: Path) -> None:
    for source, tag in [("example/base:1", "a"), ("example/child:1", "a"), ("example/child:1", "b")]:
        imgfs("copy", f"oci:{layout}:{source}", f"oci:{tmp_path / 'ours'}:{tag}")
        skopeo("copy", "-q", f"oci:{layout}:{source}", f"oci:{tmp_path / 'theirs'}:{tag}")
        assert names_of(tmp_path / "ours") == names_of(tmp_path / "theirs")
    imgfs("copy", f"oci:{layout}:example/base:1", f"oci:{tmp_path / 'theirs'}:c")
    for blob in os.listdir(tmp_path / "theirs/blobs/sha256"):
        data = (tmp_path / "ours/blobs/sha256" / blob).read_bytes()
        assert data == (tmp_path / "theirs/blobs/sha256" / blob).read_bytes()
    assert sorted(os.listdir(tmp_path / "ours")) == ["blobs", "index.json", "oci-layout"]


def test_what_is_there_is_not_copied_again_unless_it_is_damaged(
    imgfs: Imgfs, tmp_path: Path, layout: Path
) -> None:
    command = ("copy", f"oci:{layout}:example/base:1", f"oci:{tmp_path / 'out'}:1")
    imgfs(*command)
    blobs = sorted((tmp_path / "out/blobs/sha256").iterdir())
    damaged = max(blobs, key=lambda path: path.stat().st_size)
    whole = damaged.read_bytes()
    damaged.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    lines = imgfs(*command).stdout.decode().splitlines()
    assert [line for line in lines if "already exists" not in line] == [
        f"Copying blob sha256:{damaged.name}",
        "Writing manifest to image destination",
    ]
    assert damaged.read_bytes() == whole


@pytest.mark.parametrize("form", ["oci", "oci-archive"])
def test_every_platform_is_copied_with_its_index(imgfs: Imgfs, tmp_path: Path, form: str) -> None:
    source = multi_platform(tmp_path / "multi")
    out = f"{form}:{tmp_path / 'out'}:v2"
    done = imgfs("copy", "--all", "--digestfile", tmp_path / "digest", f"{source}:v1", out)
    assert done.stdout.decode().splitlines()[-1] == "Writing manifest list to image destination"
    raw = skopeo("inspect", "--raw", f"{source}:v1")
    assert skopeo("inspect", "--raw", out) == raw
    assert (tmp_path / "digest").read_text() == Digest.of(raw)
    skopeo("copy", "-q", "--all", out, f"dir:{tmp_path / 'checked'}")
    assert imgfs("copy", "-q", source, f"oci:{tmp_path / 'one'}").stdout == b""  # of this machine
    (one,) = index_of(tmp_path / "one")
    platforms = [each["digest"] for each in json.loads(raw)["manifests"]]
    assert one["digest"] in platforms
    (tmp_path / "multi/blobs/sha256" / platforms[1][7:]).unlink()
    done = imgfs("copy", "--all", f"{source}:v1", f"oci:{tmp_path / 'none'}", status=1)
    assert b"not all was pulled" in done.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("form", ["oci", "oci-archive"])
def test_a_wrong_blob_leaves_what_was_there(imgfs: Imgfs, tmp_path: Path, layout: Path, form: str) -> None:
    blob = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = blob.read_bytes()
    blob.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    (tmp_path / "out").mkdir()
    if form == "oci":
        (tmp_path / "out/there").mkdir()
    else:
        (tmp_path / "out/there").write_bytes(b"before")
    for name in ("new", "there"):
        out = f"{form}:{tmp_path / 'out' / name}:1"
        done = imgfs("copy", f"oci:{layout}:example/base:1", out, status=1)
        assert f"blob sha256:{blob.name}: failed to verify" in done.stderr.decode()
    assert [str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")] == ["there"]
    assert form == "oci" or (tmp_path / "out/there").read_bytes() == b"before"


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_an_archive_is_piped(imgfs: Imgfs, layout: Path, images: list[TestImage], name: str) -> None:
    saved = imgfs("copy", f"oci:{layout}:example/child:1", f"docker-archive:{name}:app").stdout
    assert imgfs("load", "-q", stdin=saved).stdout.decode().split() == [images[1].id]


def test_what_cannot_be_copied_is_an_error(imgfs: Imgfs, tmp_path: Path, layout: Path, archive: Path) -> None:
    image = f"oci:{layout}:example/base:1"
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    packed = f"oci-archive:{tmp_path / 'packed.tar'}"
    imgfs("copy", image, f"{packed}:1")
    for destination, said in {
        f"oci:{tmp_path / 'full'}": "full: neither empty nor an OCI image layout",
        f"oci:{tmp_path / 'no/such'}": "No such file or directory",
        "oci:/proc/there:1": "/proc/there",
        f"docker-archive:{archive}": "images are not added to an archive that is there",
        "containers-storage:app": "images are not copied there, but to imgfs:",
        f"oci:{archive}": "Not a directory",
        "docker-archive:new.tar:No Name": "is not a valid name",
        "docker://localhost:1/app:*": "a repository is needed, and one tag",
        "docker://localhost:1/": "a repository is needed, and one tag",
    }.items():
        assert said in imgfs("copy", image, destination, status=1).stderr.decode()
    assert "it is what is copied from" in imgfs("copy", f"{packed}:1", packed, status=1).stderr.decode()
    assert b"--all" in imgfs("copy", "--all", image, "docker-archive:x.tar", status=2).stderr
    assert os.listdir(tmp_path / "full") == ["file"]
    before = names_of(layout)
    imgfs("copy", image, image)  # onto itself
    assert sorted(map(str, names_of(layout))) == sorted(map(str, before))


@pytest.mark.parametrize("destination", ["oci:{}/new:1", "oci:{}/layout:1", "oci-archive:{}/new.tar:1"])
def test_an_interrupted_copy_leaves_nothing(environment: None, tmp_path: Path, destination: str) -> None:
    (tmp_path / "out").mkdir()
    large = Layout(tmp_path / "large")
    size = 16 << 30  # of zeros that no disk has, more than can be copied until it is interrupted
    layer = {"mediaType": LAYER, "digest": f"sha256:{'0' * 64}", "size": size}
    with open(tmp_path / f"large/blobs/sha256/{'0' * 64}", "wb") as file:
        file.truncate(size)
    config = TestImage([bytes(10)]).config
    manifest = {"schemaVersion": 2, "config": large.blob(config, mediaType=CONFIG), "layers": [layer]}
    source = large.finish(large.blob(json.dumps(manifest).encode()))
    if "layout" in destination:
        layout = Layout(tmp_path / "out/layout")
        layout.finish(layout.image("before")[1])
    before = sorted((tmp_path / "out").rglob("*"))
    command = [sys.executable, "-m", "imgfs", "copy", source, destination.format(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as copy:
        assert eventually(lambda: bool(list((tmp_path / "out").rglob("*.partial*"))))
        copy.send_signal(signal.SIGINT)
        _, said = copy.communicate()
    assert (copy.returncode, said) == (130, b"")
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_a_registry_that_stalls_does_not_hold_up_an_interrupt(
    environment: None, tmp_path: Path, layout: Path
) -> None:
    with uploads() as (address, state):
        state.stalls = True
        command = [sys.executable, "-m", "imgfs", "copy", "-q", INSECURE]
        command += [f"oci:{layout}:example/base:1", f"docker://{address}/app"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as copy:
            assert eventually(lambda: state.requests["PUT"] == 3)
            copy.send_signal(signal.SIGINT)
            _, said = copy.communicate(timeout=15)
        state.go_on.set()
        assert (copy.returncode, said) == (130, b"")
        assert not state.manifests


def test_a_full_disk_is_named_and_nothing_is_left(imgfs: Imgfs, tmp_path: Path, small_disk: Path) -> None:
    image = TestImage([layer_tar({"large": os.urandom(8 << 20)})], ["large:1"])
    source = f"oci:{oci_layout(tmp_path / 'layout', [image])}"
    for out in (f"oci:{small_disk}", f"oci:{small_disk}/new", f"oci-archive:{small_disk / 'new.tar'}"):
        said = imgfs("copy", source, out, status=1).stderr.decode()
        assert said.startswith(f"imgfs: {out.partition(':')[2]}: ")
        assert "No space left on device" in said
        assert os.listdir(small_disk) == []
