"""Containers of real engines with random changes, against what the engine and the kernel show of them."""

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.conftest import Imgfs, Mount, eventually
from tests.engines.engine import Docker, podman, running_docker
from tests.engines.hurting import context
from tests.engines.mutations import mutate
from tests.engines.test_rootfs import extracted
from tests.tools import require_tool
from tests.tree.stacks import Facts, check_same, real_facts

COUNT = 12  # containers; every second one is stopped
DOCKERFILE = """
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "cd /; for d in . dir dir/e; do busybox mkdir -p $d; echo a >$d/a; echo >$d/b; done"]
RUN ["/bin/busybox", "sh", "-c", "cd /; busybox rm dir/a; busybox ln a new; busybox ln -s a e; busybox mkfifo dir/new"]
CMD ["/bin/busybox", "sleep", "100000"]
"""


@dataclass(frozen=True)
class Changed:
    """A Docker with changed containers, and what the kernel showed of each, by name."""

    engine: Docker
    seen: dict[str, Facts]
    stack: ExitStack


@pytest.fixture(scope="module")
def changed(suite: str) -> Iterator[Changed]:
    with tempfile.TemporaryDirectory(prefix="imgfs-") as folder, ExitStack() as stack:
        engine = stack.enter_context(running_docker(Path(folder), "overlay2", suite))
        build = context(Path(folder) / "context")
        (build / "busybox").write_bytes(Path(require_tool("busybox")).read_bytes())
        engine.build(build, DOCKERFILE, "changed:1")
        seen: dict[str, Facts] = {}
        for number in range(COUNT):
            name = f"c{number}"
            engine.command("run", "-d", "--network=none", "--name", name, "changed:1")
            merged = _merged(engine, name)
            mutate(merged, Random(number), 5 + number * 6)
            seen[name] = _comparable(real_facts(merged))
            if number % 2:
                engine.command("kill", name)
        yield Changed(engine, seen, stack)


def _merged(docker: Docker, name: str) -> Path:
    """The root directory of a running container, as the kernel shows it."""
    path = docker.command("inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", name)
    return docker.inside.seen(Path(path))


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
        if not stat.S_ISLNK(
            status.st_mode
        ):  # readlink(2) changes that of links, on any file system with relatime
            found[path] = status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns
    return found


def test_root_file_systems_are_what_the_kernel_shows_and_docker_exports(
    mount: Mount, changed: Changed, tmp_path: Path
) -> None:
    with mount(changed.engine.source) as top:
        for name, seen in changed.seen.items():
            ours = _comparable(real_facts(top / "containers/by-name" / name / "rootfs"))
            check_same(ours, seen)
            changed.engine.command("export", "-o", tmp_path / f"{name}.tar", name)
            exported = _comparable(extracted(tmp_path / f"{name}.tar", tmp_path / name))
            check_same(_exported(ours), _exported(exported))


def test_a_change_of_a_running_container_is_seen(mount: Mount, changed: Changed) -> None:
    merged = _merged(changed.engine, "c0")
    with mount(changed.engine.source) as top:
        rootfs = top / "containers/by-name/c0/rootfs"
        assert not (rootfs / "late").exists()
        (merged / "late").write_text("late")
        eventually(lambda: (rootfs / "late").read_text() == "late" if (rootfs / "late").exists() else False)
        os.unlink(merged / "late")
        eventually(lambda: not (rootfs / "late").exists())


def test_containers_are_listed_as_docker_lists_them(imgfs: Imgfs, changed: Changed) -> None:
    form = "{{.ID}} {{.Names}} {{.Image}} {{.State}} {{.Command}}"
    theirs = changed.engine.command("ps", "--all", "--no-trunc", "--format", form).splitlines()
    ours = json.loads(imgfs("ps", "--json", changed.engine.source).stdout)
    assert [
        f'{each["id"]} {each["name"]} {each["image_name"]} {each["state"]} "{" ".join(each["command"])}"'
        for each in ours
    ] == theirs


def test_containers_come_and_go(mount: Mount, changed: Changed) -> None:
    with mount(changed.engine.source) as top:
        names = top / "containers/by-name"
        assert set(os.listdir(names)) == changed.seen.keys()
        container = changed.engine.command("create", "--network=none", "--name", "another", "changed:1")
        eventually(lambda: (names / "another/state").exists())
        assert (names / "another/state").read_text() == "created\n"
        assert os.readlink(names / "another") == f"../{container}"
        changed.engine.command("rm", "another")
        eventually(lambda: not (names / "another").is_symlink())
        eventually(lambda: not (top / "containers" / container).exists())


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_containers_of_podman_are_what_the_kernel_shows(
    mount: Mount, imgfs: Imgfs, tmp_path: Path, driver: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="imgfs-") as folder, podman(Path(folder), driver) as engine:
        build = context(tmp_path / "context")
        (build / "busybox").write_bytes(Path(require_tool("busybox")).read_bytes())
        engine.build(build, DOCKERFILE, "changed:1")
        seen: dict[str, Facts] = {}
        for number in range(COUNT):
            container = engine.command("create", "--network=none", "--name", f"c{number}", "changed:1")
            merged = engine.inside.seen(Path(engine.command("mount", container)))
            mutate(merged, Random(number), 5 + number * 6)
            seen[container] = _comparable(real_facts(merged))
        listed = json.loads(imgfs("ps", "--json", engine.source).stdout)
        assert {(each["id"], each["image_name"]) for each in listed} == {
            (one, "localhost/changed:1") for one in seen
        }
        with mount(engine.source) as top:
            for container, facts in seen.items():
                check_same(_comparable(real_facts(top / "containers" / container / "rootfs")), facts)
                has_upper = (top / "containers" / container / "upper").exists()
                assert has_upper == (driver == "overlay")


def test_of_a_root_that_was_moved_all_is_the_same_and_nothing_in_it_changes(
    mount: Mount, changed: Changed, tmp_path: Path
) -> None:
    """The last test here: it stops the engine."""
    changed.engine.command("kill", *(name for number, name in enumerate(changed.seen) if not number % 2))
    root, moved = changed.engine.root, changed.engine.root.with_name("moved")
    changed.stack.close()
    root.rename(moved)
    before = _stamps(moved)
    with mount(f"docker:{moved}") as top:
        for name, seen in changed.seen.items():
            container = top / "containers/by-name" / name
            check_same(_comparable(real_facts(container / "rootfs")), seen)
            real_facts(container / "upper")
            assert (container / "state").read_text() == "exited\n"
            assert json.loads((container / "config.json").read_bytes())["Name"] == f"/{name}"
            assert (container / "image/config.json").exists()
            assert (container / "log").read_bytes() == b""
    after = {path: os.lstat(path) for path in before}
    differing = [
        path
        for path, status in after.items()
        if before[path] != (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    ]
    assert not differing
