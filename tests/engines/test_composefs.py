"""A store of Podman that uses composefs, whole trees compared with what Podman mounts.

Podman shows whiteouts in such an image as files and what they remove as still there, so they are not compared.
"""

import tarfile
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount
from tests.engines.containerd import running_registry
from tests.engines.engine import Podman
from tests.engines.machine import HOST, SUITES, machine
from tests.engines.test_podman_places import comparable
from tests.images import TestImage, docker_archive
from tests.tree.stacks import Entry, check_same, real_facts, tar

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
CONF = """
[storage.options]
pull_options = {enable_partial_images="true", use_hard_links="false", ostree_repos="", convert_images="true"}
[storage.options.overlay]
use_composefs = "true"
"""
LAYERS = [
    [
        Entry("d", DIRECTORY, mode=0o1777, fraction="123456789"),
        Entry("d/old", FILE, "old", owner=1000),
        Entry("o", DIRECTORY, mode=0o700),
        Entry("o/empty", FILE),
        Entry("a", FILE, "a" * 300_000, mode=0o4755, xattr="value", fraction="000000001"),
        Entry("b", HARDLINK, "a", mode=0o4755, fraction="000000001"),
        Entry("s", SYMLINK, "/d/old", mode=0o777, owner=5, fraction="987654321"),
        Entry("p", tarfile.FIFOTYPE),
        Entry("c", tarfile.CHRTYPE, device=(5, 1)),
    ],
    [
        Entry("d", DIRECTORY, mode=0o755, fraction="5"),
        Entry("d/old", FILE, "newer"),
        Entry("d/new", FILE, "old"),
    ],
    [Entry("p", FILE, "a file now"), Entry("z\u00e9 \t", FILE, "z" * 5000)],
]


@pytest.mark.parametrize("suite", [each for each in SUITES if each not in (HOST, "trixie")], indirect=True)
def test_it_is_what_podman_mounts(
    suite: str, short_folder: Path, mount: Mount, imgfs: Imgfs, tmp_path: Path
) -> None:
    image = TestImage([tar(layer) for layer in LAYERS], ["localhost/composed:1"])
    (short_folder / "other").mkdir()
    with machine(suite) as inside, running_registry(tmp_path) as registry:
        other, podman = (
            Podman(inside, short_folder / "other", "overlay"),
            Podman(inside, short_folder, "overlay", CONF),
        )
        other.load(docker_archive(tmp_path / "image.tar", [image]))
        name, options = f"{registry}/composed:1", ("-q", "--tls-verify=false")
        form = ("--format", "oci", "--compression-format", "zstd:chunked")
        other.command("push", *options, *form, image.tags[0], f"docker://{name}")
        podman.command("pull", *options, f"docker://{name}")
        assert len(list(podman.root.glob("overlay/*/composefs-data/composefs.blob"))) == len(LAYERS)
        seen = comparable(real_facts(podman.mounted(name)))
        source = f"containers-storage:{podman.root}"
        with mount(source) as top:
            check_same(comparable(real_facts(top / "tags" / registry / "composed" / "1" / "rootfs")), seen)
        assert imgfs("export", "--tar", "verbatim", "--source", source, name).stdout == image.verbatim
        imgfs("verify", source)
