"""The file system for fsspec against fsspec's own tests of those that are read."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from imgfs.api.fsspec import ImageFileSystem
from tests.images import TestImage, docker_archive, layer_tar

Fill = Callable[[LocalFileSystem, Callable[..., str], str], object]


class ImageFixtures(AbstractFixtures):  # type: ignore[misc]
    @pytest.fixture
    def fs(self, environment: None) -> Iterator[ImageFileSystem]:
        fs = ImageFileSystem()
        yield fs
        fs.close()

    @pytest.fixture
    def fs_path(self, tmp_path: Path) -> str:
        return quote(str(tmp_path / "image.tar"), safe="")

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, fs_path: str, tmp_path: Path) -> str:
        return self._filled(self._bulk_operations_scenario_0, fs_path, tmp_path)

    @pytest.fixture
    def fs_glob_edge_cases_files(self, fs_path: str, tmp_path: Path) -> str:
        return self._filled(self._glob_edge_cases_files, fs_path, tmp_path)

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, fs_path: str, tmp_path: Path) -> str:
        return self._filled(self._dir_and_file_with_same_name_prefix, fs_path, tmp_path)

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, fs_path: str, tmp_path: Path) -> str:
        return self._filled(self._10_files_with_hashed_names, fs_path, tmp_path)

    def _filled(self, fill: Fill, fs_path: str, tmp_path: Path) -> str:
        """Make an image of what `fill` makes, and return where in it that is."""
        fill(LocalFileSystem(auto_mkdir=True), os.path.join, str(tmp_path / "filled"))
        tar = subprocess.run(
            ["tar", "cf", "-", "-C", tmp_path / "filled", "."], capture_output=True, check=True
        ).stdout
        docker_archive(tmp_path / "image.tar", [TestImage([tar])])
        return f"{fs_path}/source"


class TestGet(ImageFixtures, AbstractGetTests):  # type: ignore[misc]
    @pytest.mark.parametrize("ending", ["", "/"])
    def test_get_directory_recursive(
        self, fs: ImageFileSystem, fs_bulk_operations_scenario_0: str, tmp_path: Path, ending: str
    ) -> None:
        """In place of fsspec's own, which makes the directory by the file system."""
        source, target = f"{fs_bulk_operations_scenario_0}{ending}", tmp_path / "target"
        for times in range(2):
            fs.get(source, str(target), recursive=True)
            inside = target / "source" if times and not ending else target
            assert sorted(os.listdir(inside / "subdir")) == ["nesteddir", "subfile1", "subfile2"]


def test_urls_name_images_as_the_command_line_does(environment: None, tmp_path: Path) -> None:
    layer = layer_tar({"etc/": None, "etc/name": b"content"})
    archive = docker_archive(tmp_path / "image.tar", [TestImage([layer], ["a/b:1"])])
    url = f"imgfs://{quote(f'{archive}:a/b:1', safe='')}/etc/name"
    with fsspec.open(url) as file:
        assert file.read() == b"content"
    fs, path = fsspec.url_to_fs(url)
    assert fs.info(path)["size"] == 7
    assert fs.ls(path.rpartition("/")[0], detail=False) == [path]
    assert fs.cat(path) == b"content"
    with pytest.raises(FileNotFoundError):
        fs.info(f"{path}x")
    with pytest.raises(OSError, match="Read-only"):
        fs.open(path, "wb")
    fs.close()
