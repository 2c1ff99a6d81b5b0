"""`imgfs inspect`: the details of an image; that layers are shown as verified is tested in `test_background`."""

import json
from pathlib import Path

from tests.conftest import Imgfs
from tests.images import TestImage, docker_archive, layer_tar


def test_inspect_shows_the_config_and_where_the_image_is(
    imgfs: Imgfs, archive: Path, images: list[TestImage]
) -> None:
    (described,) = json.loads(imgfs("inspect", "--source", archive, "example/child").stdout)
    assert described["Id"] == images[1].id
    assert described["RepoTags"] == list(images[1].tags)
    assert described["Parent"] == images[0].id
    assert described["Children"] == [images[2].id]
    assert described["ImageConfig"] == json.loads(images[1].config)
    assert described["Config"] == json.loads(images[1].config)["config"]


def test_a_config_that_no_json_can_hold_is_an_error_that_names_the_image(
    imgfs: Imgfs, tmp_path: Path
) -> None:
    """Its bytes that are no UTF-8 lie in a field that nothing else reads."""

    class Latin(TestImage):
        @property
        def config(self) -> bytes:
            return super().config[:-1] + b', "note": "caf\xe9"}'

    image = Latin([layer_tar({"a": b"a"})], ["latin:1"])
    path = docker_archive(tmp_path / "latin.tar", [image])
    (line,) = imgfs("inspect", "--source", path, "latin:1", status=1).stderr.decode().splitlines()
    assert line.startswith(f"imgfs: image {image.id}: its config is no JSON: ")
