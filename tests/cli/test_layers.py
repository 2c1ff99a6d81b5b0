"""`imgfs layers`: the table and its JSON."""

import json
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.images import TestImage, docker_archive
from tests.tree.stacks import Entry, tar

FILE = tarfile.REGTYPE


@pytest.fixture
def image(tmp_path: Path) -> str:
    """An image whose second layer replaces one of two files of the first."""
    layers = [
        tar([Entry("a", FILE, "1" * 3000), Entry("b", FILE, "2" * 1000)]),
        tar([Entry("a", FILE, "3" * 1000)]),
    ]
    history = [
        {"created_by": "COPY\ta b /"},
        {"created_by": "ENV X", "empty_layer": True},
        {"comment": "RUN edit"},
    ]
    return str(docker_archive(tmp_path / "i.tar", [TestImage(layers, ["x:1"], extra={"history": history})]))


def test_json_has_numbers(imgfs: Imgfs, image: str) -> None:
    found = json.loads(imgfs("layers", "--json", image).stdout)
    first, second = found["layers"]
    assert (first["size"], first["added"], first["hidden"], first["hidden_size"]) == (4000, 2, 1, 3000)
    assert (second["size"], second["replaced"], second["removed"], second["hidden"]) == (1000, 1, 0, 0)
    assert (first["created_by"], second["created_by"]) == ("COPY\ta b /", "RUN edit")
    assert (found["size"], found["hidden_size"], found["wasted_size"]) == (5000, 3000, 4000)
    assert found["efficiency"] == 0.4


def test_the_table_is_for_people(imgfs: Imgfs, image: str) -> None:
    lines = imgfs("layers", image).stdout.decode().splitlines()
    assert lines[0].split() == ["LAYER", "SIZE", "+FILES", "~", "-", "HIDDEN", "STEP"]
    assert lines[1].split() == [lines[1][:15], "4.0K", "#" * 10, "2", "0", "0", "3.0K", "COPY\\ta", "b", "/"]
    assert lines[2].split()[2:] == ["##", "0", "1", "0", "RUN", "edit"]
    assert lines[3] == "4.9K in 2 layers, 3.0K hidden by later ones; wasted 4.0K, efficiency 40.0%"
