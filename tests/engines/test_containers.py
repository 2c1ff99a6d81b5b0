"""Containers of real engines with random changes, against what the engine and the kernel show of them."""

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.conftest import Imgfs, Mount, eventually
from tests.engines.containers import NAME, STARTS, Containers, OfContainerd, OfDocker, OfPodman
from tests.engines.engine import run
from tests.engines.machine import HOST, SUITES
from tests.engines.mutations import mutate
from tests.engines.test_rootfs import extracted
from tests.images import TestImage
from tests.tree.stacks import Entry, Facts, check_same, real_facts, tar

COUNT = int(os.environ.get("IMGFS_TEST_CONTAINERS", "4"))
"""The number of containers of each kind of engine; every second one is stopped."""

_SECONDS = 20  # for imgfs to notice a change on a busy machine

KINDS = [
    (suite, kind)
    for suite in SUITES
    for kind in STARTS
    # Debian 12's Docker has no such store, and with vfs there is little that may differ
    if kind != {HOST: "docker-containerd"}.get(suite, "podman-vfs")
]

# libpod/diff.go: what Podman itself puts into containers, which it does not list as changed
PODMANS_OWN = {
    *("/dev", "/proc", "/run", "/sys", "/run/.containerenv", "/run/notify", "/run/podman-init"),
    *("/run/secrets", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf"),
}


@dataclass(frozen=True)
class Changed:
    """An engine with changed containers: the ID of each by its name, and what the kernel showed of it."""

    kind: str
    engine: Containers
    ids: dict[str, str]
    seen: dict[str, Facts]
    stack: ExitStack


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def changed(request: pytest.FixtureRequest) -> Iterator[Changed]:
    suite, kind = request.param
    with tempfile.TemporaryDirectory(prefix="imgfs-") as folder, ExitStack() as stack:
        engine = stack.enter_context(STARTS[kind](Path(folder), suite))
        ids: dict[str, str] = {}
        seen: dict[str, Facts] = {}
        for number in range(COUNT):
            name = f"c{number}"
            ids[name] = engine.create(name)
            merged = engine.merged(ids[name])
            mutate(merged, Random(number), 10 + number * 20)
            seen[name] = _comparable(real_facts(merged))
            if number % 2:
                engine.stop(ids[name])
        yield Changed(kind, engine, ids, seen, stack)


def _comparable(facts: Facts) -> Facts:
    """The same without link counts, and which names are of one file.

    Overlayfs counts names of lower layers that it hides, and gives two files that were one there the same inode.
    """
    return {path: (*fact[:3], 0, *fact[4:7], b"") for path, fact in facts.items()}


def _exported(facts: Facts) -> Facts:
    """What docker export writes of it: whole seconds, and no attributes of users."""
    return {
        path: (
            *fact[:4],
            (fact[4] or 0) // 10**9,
            fact[5],
            {name: value for name, value in fact[6].items() if not name.startswith(b"user.")},
            fact[7],
        )
        for path, fact in facts.items()
    }


def _stamps(root: Path) -> dict[str, tuple[int, ...]]:
    """All times of everything below a directory; first, access times are set so that any read would change them."""
    paths = [str(root)]
    for folder, folders, files in os.walk(root):
        paths += [os.path.join(folder, name) for name in folders + files]
    for path in reversed(paths):
        mtime = os.lstat(path).st_mtime_ns
        os.utime(path, ns=(mtime - 10**9, mtime), follow_symlinks=False)
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        status = os.lstat(path)
        found[path] = status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns
    return found


def test_root_file_systems_are_what_the_kernel_shows_and_the_engine_exports(
    mount: Mount, changed: Changed, tmp_path: Path
) -> None:
    with mount(changed.engine.source) as top:
        for name, seen in changed.seen.items():
            container = top / "containers" / changed.ids[name]
            ours = _comparable(real_facts(container / "rootfs"))
            check_same(ours, seen)
            assert (container / "upper").exists() == (changed.kind != "podman-vfs")
            if changed.engine.export(changed.ids[name], tmp_path / f"{name}.tar"):
                exported = _comparable(extracted(tmp_path / f"{name}.tar", tmp_path / name))
                check_same(_exported(ours), _exported(exported))


def test_drift_is_what_the_engine_lists(imgfs: Imgfs, changed: Changed) -> None:
    """In an order of its own, as that of docker is another each time."""
    for name, container_id in changed.ids.items():
        listed = imgfs("drift", "--source", changed.engine.source, container_id).stdout.decode().splitlines()
        assert listed == sorted(set(listed), key=lambda line: line[2:].split("/"))
        theirs = changed.engine.changes(container_id)
        if isinstance(changed.engine, OfPodman) and theirs is not None:
            for path in _only_podman_lists(set(listed), theirs):
                which = imgfs("which", "--json", "--source", changed.engine.source, container_id, path)
                assert json.loads(which.stdout)[0]["created_by"] == f"container {name}"
        elif theirs is not None:
            assert set(listed) == theirs


def _only_podman_lists(ours: set[str], theirs: set[str]) -> list[str]:
    """What podman diff lists as changed that drift does not; what else differs is as `imgfs help images` says."""
    emptied = [line[2:] for line in theirs - ours if line[0] == "D"]
    assert {f"C {path}" for path in emptied} <= ours
    more = {line[2:] for line in ours - theirs}
    left = {path for path in more if not any(f"{path}/".startswith(f"{above}/") for above in emptied)}
    directories = {line[2:].rpartition("/")[0] for line in ours}
    assert left <= PODMANS_OWN | directories
    return [line[2:] for line in theirs - ours if line[0] == "C"]


def test_its_own_layer_is_the_tar_that_the_engine_commits(
    mount: Mount, changed: Changed, tmp_path: Path
) -> None:
    if not changed.engine.commit(changed.ids["c3"], "committed:1"):
        return
    with mount(changed.engine.source) as top:
        tar = top / "containers/by-name/c3/diff.tar"
        ours = _members(tar)
        layers = top / "tags" / changed.engine.image_name.replace(NAME, "committed/1") / "layers"
        theirs = _members(max(layers.glob("*.tar")))
        assert run("tar", "tf", tar).count("\n") + 1 == len(ours)
    optional = {
        name for name in ours if name.endswith("/.wh..wh..opq")
    }  # Podman has none where nothing is hidden
    assert ours.keys() - optional <= theirs.keys() <= ours.keys()
    assert {name: ours[name] for name in theirs} == theirs


def _members(path: Path) -> dict[str, tuple[object, ...]]:
    """What the members of a tar are, by name; which of the names of a file comes first is left open."""
    names: dict[str, tuple[object, ...]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            of = tar.getmember(member.linkname) if member.islnk() else member
            content = (tar.extractfile(of) or io.BytesIO()).read() if of.isreg() else of.linkname
            device = (of.devmajor, of.devminor) if of.isdev() and not of.isfifo() else None
            mode = 0 if "/.wh." in f"/{member.name}" else of.mode & 0o7777  # one for all, each engine its own
            names[member.name] = of.type, mode, of.uid, of.gid, of.size, device, content
    return names


def test_a_change_of_a_running_container_is_seen(mount: Mount, changed: Changed) -> None:
    merged = changed.engine.merged(changed.ids["c0"])
    with mount(changed.engine.source) as top:
        rootfs = top / "containers/by-name/c0/rootfs"
        assert not (rootfs / "late").exists()
        (merged / "late").write_text("late")
        assert eventually(lambda: (rootfs / "late").exists(), _SECONDS)
        assert (rootfs / "late").read_text() == "late"
        os.unlink(merged / "late")
        assert eventually(lambda: not (rootfs / "late").exists(), _SECONDS)


def test_containers_are_listed_as_docker_lists_them(imgfs: Imgfs, changed: Changed) -> None:
    ours = json.loads(imgfs("ps", "--json", changed.engine.source).stdout)
    assert {(each["id"], each["name"]) for each in ours} == {(id_, name) for name, id_ in changed.ids.items()}
    assert {each["image_name"] for each in ours} == {changed.engine.image_name}
    if isinstance(changed.engine, OfDocker):
        form = "{{.ID}} {{.Names}} {{.Image}} {{.State}} {{.Command}}"
        theirs = changed.engine.engine.command("ps", "--all", "--no-trunc", "--format", form).splitlines()
        assert [
            f'{each["id"]} {each["name"]} {each["image_name"]} {each["state"]} "{" ".join(each["command"])}"'
            for each in ours
        ] == theirs
    if isinstance(changed.engine, OfPodman):
        described = json.loads(changed.engine.engine.command("ps", "--all", "--format", "json"))
        assert {each["id"]: (each["state"], each["exit_code"] or 0, each["command"]) for each in ours} == {
            each["Id"]: (each["State"], each["ExitCode"], each["Command"]) for each in described
        }


def test_locate_finds_what_is_in_each_image_and_names_its_containers(imgfs: Imgfs, changed: Changed) -> None:
    source = changed.engine.source
    found: dict[str, set[str]] = {}
    for line in imgfs("locate", "--json", "--source", source, "*").stdout.splitlines():
        hit = json.loads(line)
        for root in (*hit["images"], *(f"container {name}" for name in hit["containers"])):
            found.setdefault(root, set()).add(hit["path"])
    containers = {found.pop(f"container {name}") == found[changed.engine.image_name] for name in changed.ids}
    assert containers == {True}
    for image, paths in found.items():
        listed = imgfs("find", "--json", "--source", source, image, "*").stdout.splitlines()
        assert paths == {json.loads(line)["path"] for line in listed}
    hits = map(json.loads, imgfs("locate", "--json", "--source", source, "/dir/new").stdout.splitlines())
    (new,) = (hit for hit in hits if changed.engine.image_name in hit["images"])  # others have been committed
    layers = imgfs("layers", "--json", "--source", source, changed.engine.image_name).stdout
    assert new["diff_id"] == json.loads(layers)["layers"][-1]["diff_id"]


def test_locate_finds_what_arrives_beside_a_mount(imgfs: Imgfs, mount: Mount, changed: Changed) -> None:
    source = changed.engine.source
    with mount(source, options="locate"):
        assert imgfs("locate", "-q", "--source", source, "arrived", status=1).stdout == b""
        changed.engine.bring(TestImage([tar([Entry("arrived", tarfile.REGTYPE)])], ["example.com/new:1"]))
        (line,) = imgfs("locate", "--json", "--source", source, "arrived").stdout.splitlines()
    assert json.loads(line)["images"] == ["example.com/new:1"]


def test_containers_come_and_go(mount: Mount, changed: Changed) -> None:
    if not isinstance(changed.engine, OfDocker):
        return
    docker = changed.engine.engine
    with mount(changed.engine.source) as top:
        names = top / "containers/by-name"
        assert set(os.listdir(names)) == changed.seen.keys()
        container = docker.command("create", "--network=none", "--name", "another", NAME)
        assert eventually(lambda: (names / "another/state").exists(), _SECONDS)
        assert (names / "another/state").read_text() == "created\n"
        assert os.readlink(names / "another") == f"../{container}"
        docker.command("rm", "another")
        assert eventually(lambda: not (names / "another").is_symlink(), _SECONDS)
        assert eventually(lambda: not (top / "containers" / container).exists(), _SECONDS)


def test_of_a_root_that_was_moved_all_is_the_same_and_nothing_in_it_changes(
    mount: Mount, changed: Changed
) -> None:
    """The last test of an engine, which it stops."""
    for number, container_id in enumerate(changed.ids.values()):
        if not number % 2:
            changed.engine.stop(container_id)
    root, moved = changed.engine.root, changed.engine.root.with_name("moved")
    changed.stack.close()
    root.rename(moved)
    for blob in moved.rglob("io.containerd.content.v1.content/blobs/sha256/*"):
        if not blob.read_bytes().startswith(
            b"{"
        ):  # the layers, as if they had been discarded after unpacking
            blob.unlink()
    before = _stamps(moved)
    with mount(f"{changed.engine.scheme}:{moved}") as top:
        for name, seen in changed.seen.items():
            container = top / "containers/by-name" / name
            check_same(_comparable(real_facts(container / "rootfs")), seen)
            assert (container / "image/config.json").exists()
            json.loads((container / "config.json").read_bytes())
            if changed.kind != "podman-vfs":
                real_facts(container / "upper")
            if not isinstance(changed.engine, OfContainerd):
                assert (container / "state").read_text() == "exited\n"
                record = json.loads((container / "config.json").read_bytes())
                assert record.get("Name", record.get("name")).lstrip("/") == name
                assert (container / "log").read_bytes() == b""
    after = {path: os.lstat(path) for path in before}
    differing = [
        path
        for path, status in after.items()
        if before[path] != (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    ]
    assert not differing
