"""EROFS images, against the kernel, which mounts them."""

import subprocess
from pathlib import Path

import pytest

from imgfs.blob import FileBlob
from tests.erofs.images import image_facts, make_image, make_image_of_tar, mounted_image, random_files, tool
from tests.tools import require_root
from tests.tree.stacks import check_same, real_facts

HOST, TRIXIE = "host", "trixie"
WAYS = [
    (HOST, ""),
    (HOST, "-T0"),
    (HOST, "--chunksize=4096"),
    (TRIXIE, ""),
    (TRIXIE, "-b512"),
    (TRIXIE, "-b512 --chunksize=512"),
    (TRIXIE, "-Enoinline_data"),
    (TRIXIE, "-T0"),
    (TRIXIE, "-Eforce-inode-extended -x1"),
    (TRIXIE, "-Eforce-chunk-indexes,dedupe --chunksize=8192"),
    (TRIXIE, "--xattr-prefix=trusted.long.prefix. --xattr-prefix=user.long. -Exattr-name-filter"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_root()
    top = tmp_path_factory.mktemp("files") / "top"
    random_files(top, 1)
    return top


def check(image: Path, top: Path) -> None:
    """Compare an image, root directory included, with what the kernel shows of it."""
    with FileBlob(image) as blob:
        found = image_facts(blob)
    root = found.pop(b"")
    with mounted_image(image, top) as shown:
        status = shown.stat()
        expected = status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_mtime_ns
        assert root[:5] == expected
        check_same(found, real_facts(shown))


@pytest.mark.parametrize(("suite", "options"), WAYS)
def test_an_image_of_a_folder_is_what_the_kernel_shows(
    folder: Path, suite: str, options: str, tmp_path: Path
) -> None:
    image = make_image(tmp_path / "image", folder, options.split(), suite)
    check(image, tmp_path / "top")
    command: list[str | Path] = [*tool("fsck.erofs", suite), image]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize(
    "options", ["--tar=f -Enoinline_data", "--tar=f -T0 --mkfs-time --sort=none", "--tar=i"]
)
def test_an_image_of_a_tar_is_what_the_kernel_shows(folder: Path, options: str, tmp_path: Path) -> None:
    command = ["tar", "--format=pax", "--xattrs", "--xattrs-include=*", "-C", folder, "-c", "."]
    tar = subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout
    check(make_image_of_tar(tmp_path / "image", tar, options.split()), tmp_path / "top")
