"""What is published: built, and installed into fresh environments with every supported Python of this machine."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import imgfs
from tests.images import TestImage, docker_archive

PROJECT = Path(__file__).parent.parent.parent
NEWEST = 13


def pythons() -> list[str]:
    """The Pythons of supported versions that can be run, one of each version."""
    found = {sys.version_info[:2]: sys.executable}
    for minor in range(11, NEWEST + 1):
        kept_by_pyenv = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
        for path in filter(None, (shutil.which(f"python3.{minor}"), *map(str, kept_by_pyenv))):
            # pyenv puts programs on the path also for versions that are not in use
            if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
                found.setdefault((3, minor), path)
    return list(found.values())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("built")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=PROJECT, check=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_they_have_the_package_and_its_license_and_no_tests(built: tuple[Path, Path]) -> None:
    wheel, sdist = built
    version = imgfs.__version__
    modules = {str(path.relative_to(PROJECT)) for path in (PROJECT / "imgfs").rglob("*.py")}
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    assert {name for name in names if name.endswith(".py")} == modules
    assert {"imgfs/py.typed", f"imgfs-{version}.dist-info/licenses/LICENSE"} <= names
    with tarfile.open(sdist) as opened_tar:
        rest = {name.partition("/")[2] for name in opened_tar.getnames()}
    assert {name for name in rest if name.endswith(".py")} == modules
    assert {"LICENSE", "README.md", "pyproject.toml", "imgfs/py.typed"} <= rest


@pytest.mark.parametrize("python", pythons())
def test_it_works_where_it_is_installed(
    built: tuple[Path, Path], tmp_path: Path, images: list[TestImage], python: str
) -> None:
    """The wheel with what it needs, and over it the source distribution."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "LC_ALL": "C.UTF-8"}
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    options = ("-q", "--no-compile", "--disable-pip-version-check")
    pip: list[str | Path] = [tmp_path / "venv/bin/pip", "install", *options]
    subprocess.run([*pip, built[0]], check=True)
    archive = docker_archive(tmp_path / "images.tar", images)

    def check() -> None:
        command = tmp_path / "venv/bin/imgfs"
        shown = subprocess.run([command, "--version"], env=environment, capture_output=True, check=True)
        assert shown.stdout.decode() == f"imgfs {imgfs.__version__}\n"
        listed = subprocess.run(
            [command, "ls", "--json", archive], env=environment, capture_output=True, check=True
        )
        assert listed.stdout

    check()
    subprocess.run([*pip, "--force-reinstall", "--no-deps", built[1]], check=True)
    check()
