"""The quirky registry speaks the protocol: skopeo copies to it and from it."""

import subprocess
from pathlib import Path

from tests.images import TestImage, layer_tar, oci_layout
from tests.registry.quirky import running_quirky
from tests.tools import require_tool


def skopeo(source: str, target: str) -> None:
    """Copy an image, with the blobs as they are."""
    options = ("--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false")
    command = [require_tool("skopeo"), "--insecure-policy", "copy", *options, source, target]
    subprocess.run(command, check=True, capture_output=True)


def files(layout: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in (layout / "blobs/sha256").iterdir()}


def test_skopeo_copies_to_it_and_from_it(tmp_path: Path) -> None:
    image = TestImage([layer_tar({"a": b"a" * 100_000}), layer_tar({"b": b"b"})], ["app:1"])
    layout = oci_layout(tmp_path / "layout", [image], "gzip")
    with running_quirky() as quirky:
        place = f"docker://{quirky.address}/app:1"
        skopeo(f"oci:{layout}:app:1", place)
        assert quirky.tags("app") == ["1"]
        skopeo(place, f"oci:{tmp_path / 'copied'}:app:1")
    assert files(tmp_path / "copied") == files(layout)
