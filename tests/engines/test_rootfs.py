"""The merged root file system of real images, against what engines and umoci make of them."""

import json
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.conftest import Mount
from tests.engines.conftest import Engines, with_one_suite
from tests.engines.engine import Engine, run
from tests.erofs.images import mounted_file
from tests.kernel import kernel_has_erofs
from tests.tar.archives import tree
from tests.tools import require_tool
from tests.tree.stacks import Facts, check_same, real_facts

EXTRACT = ("--xattrs", "--xattrs-include=*", "--numeric-owner", "-p")

SPARSE = (
    ("tar", "--format=pax", "--sparse", "--sparse-version=0.0"),
    ("tar", "--format=pax", "--sparse", "--sparse-version=0.1"),
    ("tar", "--format=pax", "--sparse", "--sparse-version=1.0"),
    ("bsdtar", "--format=pax"),
)

# what Docker puts into every container for itself
DOCKERS_OWN = (
    *(b".dockerenv", b"dev", b"etc", b"proc", b"sys", b"dev/console", b"dev/pts", b"dev/shm"),
    *(b"etc/hostname", b"etc/hosts", b"etc/mtab", b"etc/resolv.conf"),
)


def extracted(tar: Path, folder: Path) -> Facts:
    """What GNU tar makes of a tar."""
    folder.mkdir()
    run(require_tool("tar"), "xf", tar, "-C", folder, *EXTRACT)
    return real_facts(folder)


def check_export(mount: Mount, engine: Engine, tag: str, hexes: str, folder: Path) -> None:
    """Compare what is mounted, and its flat.tar, with what the engine exports of a container of the image."""
    container = engine.command("create", tag, "/bin/busybox")
    engine.command("export", "-o", folder / "export.tar", container)
    engine.command("rm", container)
    check(
        mount,
        engine.source,
        hexes,
        extracted(folder / "export.tar", folder / "exported"),
        folder / "flat",
        without_dockers_own,
    )


def without_dockers_own(facts: Facts) -> Facts:
    """The same without what Docker puts into every container."""
    return {path: fact for path, fact in facts.items() if path not in DOCKERS_OWN}


def unpacked(layout: Path, tag: str, folder: Path) -> Facts:
    """What umoci makes of an image."""
    run(require_tool("umoci"), "unpack", "--image", f"{layout}:{tag}", folder)
    return real_facts(folder / "rootfs")


def without_directory_times(facts: Facts) -> Facts:
    """The same without the times of directories.

    A layer may have a file and no member for the directory it is in. Engines then make that directory in the layer,
    which is what is shown; umoci leaves the one of the layer below as it was.
    """
    return {
        path: (*fact[:4], 0, *fact[5:]) if stat.S_ISDIR(fact[0]) else fact for path, fact in facts.items()
    }


def check(
    mount: Mount,
    source: str,
    hexes: str,
    expected: Facts,
    folder: Path,
    compared: Callable[[Facts], Facts] = lambda facts: facts,
) -> None:
    """Compare what is mounted, its flat.tar and rootfs.erofs, with what is expected, as far as `compared` has it.

    Then what the kernel itself shows with what is mounted without that.
    """
    with mount(source) as top:
        image = top / "images" / hexes
        shown = real_facts(image / "rootfs")
        check_same(compared(shown), compared(expected))
        with mounted_file(image / "rootfs.erofs", folder.with_name("erofs")) as erofs:
            check_same(real_facts(erofs), shown)
        check_same(compared(extracted(image / "flat.tar", folder)), compared(expected))
        size = (image / "flat.tar").stat().st_size
        with (image / "flat.tar").open("rb") as file:
            assert size == len(file.read())
    with mount(source, options="kernel") as top:
        root = top / "images" / hexes / "rootfs"
        check_same(real_facts(root), shown)
        assert root.is_mount() == kernel_has_erofs()


@pytest.mark.parametrize("kind", ["docker-overlay2", "podman-overlay"])
@pytest.mark.parametrize("stage", ["base", "top"])
def test_it_is_what_the_engine_exports(
    mount: Mount, engines: Engines, tmp_path: Path, kind: str, stage: str
) -> None:
    built = engines[kind]
    check_export(mount, built.engine, f"hurting:{stage}", built.family[stage], tmp_path)


@with_one_suite
@pytest.mark.parametrize("kind", ["docker-overlay2", "podman-overlay"])
def test_it_is_what_umoci_unpacks(mount: Mount, engines: Engines, tmp_path: Path, kind: str) -> None:
    built = engines[kind]
    built.engine.save("hurting:top", tmp_path / "saved.tar")
    layout = tmp_path / "layout"
    run(require_tool("skopeo"), "copy", "-q", f"docker-archive:{tmp_path / 'saved.tar'}", f"oci:{layout}:t")
    expected = unpacked(layout, "t", tmp_path / "bundle")
    check(mount, built.engine.source, built.family["top"], expected, tmp_path / "flat")


@pytest.mark.parametrize("kind", ["docker-overlay2", "podman-vfs"])
def test_sparse_files_are_whole_in_every_engine(
    mount: Mount, engines: Engines, tmp_path: Path, kind: str
) -> None:
    """Even where the engine itself cannot save them, because its recipe of the layer's tar counts them wrongly."""
    engine = engines[kind].engine
    files = tree(tmp_path / "files")
    for number, command in enumerate(SPARSE):
        tar = tmp_path / f"{number}.tar"
        run(require_tool(command[0]), *command[1:], "-cf", tar, "-C", files, ".")
        image = engine.command("import", tar, f"sparse:{number}").splitlines()[-1][-64:]
        try:
            check(mount, engine.source, image, real_facts(files), tmp_path / f"flat{number}")
        finally:
            engine.command("rmi", f"sparse:{number}")


def _debian(layout: Path, folder: Path, steps: Sequence[str]) -> None:
    """A layout with a Debian root file system, tagged `0`, and a layer more for each step, run in it by its shell."""
    umoci, bundle = require_tool("umoci"), folder / "bundle"
    run(umoci, "init", "--layout", layout)
    run(umoci, "new", "--image", f"{layout}:new")
    run(umoci, "unpack", "--image", f"{layout}:new", bundle)
    run(
        require_tool("mmdebstrap"),
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        "bookworm",
        bundle / "rootfs",
    )
    run(umoci, "repack", "--refresh-bundle", "--image", f"{layout}:0", bundle)
    for number, step in enumerate(steps, 1):
        run("chroot", bundle / "rootfs", "sh", "-ec", step, environment={"DEBIAN_FRONTEND": "noninteractive"})
        run(umoci, "repack", "--refresh-bundle", "--image", f"{layout}:{number}", bundle)


def test_a_debian_with_an_apt_transaction_a_layer_is_what_umoci_unpacks(mount: Mount, tmp_path: Path) -> None:
    install = "apt-get -q update && apt-get -q -y install --no-install-recommends"
    layout = tmp_path / "layout"
    _debian(layout, tmp_path, [f"{install} less", "apt-get -q -y purge less", f"{install} iputils-ping make"])
    expected = unpacked(layout, "3", tmp_path / "unpacked")
    assert len(expected) > 5000
    manifest = json.loads(run(require_tool("skopeo"), "inspect", "--raw", f"oci:{layout}:3"))
    hexes = manifest["config"]["digest"][7:]
    check(mount, f"oci:{layout}:3", hexes, expected, tmp_path / "flat", without_directory_times)
