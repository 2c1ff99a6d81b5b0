"""Sizes as ls writes them."""

import os
import subprocess
from pathlib import Path

import pytest

from imgfs.sizes import human_size, parse_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        *((None, "-"), (0, "0"), (1023, "1023"), (1024, "1.0K"), (1025, "1.1K"), (10_137, "9.9K")),
        *(
            (10_138, "10K"),
            (1_047_552, "1023K"),
            (1_047_553, "1.0M"),
            (5 << 30, "5.0G"),
            (5000 << 60, "5000E"),
        ),
    ],
)
def test_sizes_are_rounded_up(size: int | None, text: str) -> None:
    assert human_size(size) == text


def test_sizes_are_as_ls_has_them(tmp_path: Path) -> None:
    sizes = [0, 999, *(value for power in (10, 20, 30, 40) for value in (1 << power, 3 << power - 1))]
    sizes += [1013 << 10, (1 << 20) - 1, (10 << 20) - 52429, 999_999_999]
    for size in sizes:
        with (tmp_path / "file").open("wb") as file:
            os.truncate(file.fileno(), size)
        listed = subprocess.run(["ls", "-lh", tmp_path / "file"], capture_output=True, check=True, text=True)
        assert human_size(size) == listed.stdout.split()[4]


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("12B", 12), ("20M", 20 << 20), (" 1.5 GiB", 3 << 29), ("2kb", 2048)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1,5G", "1e3", "1" * 5000, "20 M B", "9P"])
def test_what_is_no_size_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as 500M or 8G"):
        parse_size(text)
