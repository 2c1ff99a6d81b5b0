"""`history`: how an image was made."""

from pathlib import Path

from imgfs.store import Image
from imgfs.view import File
from imgfs.view.history import history_table
from tests.images import TestImage, layer_tar, oci_layout
from tests.view.conftest import View, content, find

LAYERS = [layer_tar({"a": b"a"}), layer_tar({"b": b"b"})]
HISTORY: list[dict[str, object]] = [
    {"created": "2024-01-02T03:04:05Z", "created_by": "ADD files"},
    {"created_by": "ENV A=b", "empty_layer": True},
    {"created_by": "RUN \x1b[31mrm\n  -rf", "comment": "second"},
]


def image(history: list[dict[str, object]]) -> Image:
    return Image.from_config(TestImage(LAYERS, extra={"history": history}).config)


def test_each_step_is_a_line_the_latest_first_with_its_layer_and_size() -> None:
    assert history_table(image(HISTORY), [10240, None]).splitlines() == [
        "LAYER  CREATED (UTC)         SIZE  CREATED BY  # COMMENT",
        "   01  -                        -  RUN [31mrm -rf  # second",
        "    -  -                        0  ENV A=b",
        "   00  2024-01-02 03:04:05  10240  ADD files",
    ]


def test_layers_that_are_not_in_the_history_are_listed_all_the_same() -> None:
    lines = history_table(image([]), [1, 2]).splitlines()
    assert [line.split() for line in lines[1:]] == [["01", "-", "2"], ["00", "-", "1"]]


def test_sizes_are_shown_as_far_as_they_are_known(view: View, tmp_path: Path) -> None:
    packed = TestImage(LAYERS, ["app:1"], extra={"history": HISTORY})
    root = view(oci_layout(tmp_path / "layout", [packed]))
    path = f"images/{packed.id.hex}/history"
    file = find(root, path)
    assert isinstance(file, File)
    assert file.known_size is None, "sizes may have to be looked for"
    assert content(root, path).splitlines()[1].split()[2] == b"-"
    assert file.known_size == len(content(root, path))
    content(root, f"images/{packed.id.hex}/rootfs.tar")
    sizes = [line.split()[0:4] for line in content(root, path).splitlines()[1:]]
    assert [size for line in sizes for size in line if size.isdigit() and len(size) > 3] == [
        b"10240",
        b"10240",
    ]
