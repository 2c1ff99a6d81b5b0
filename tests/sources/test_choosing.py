"""Which image of a layout or an archive is meant."""

import pytest

from imgfs.errors import InvalidImage
from imgfs.sources.choosing import chosen

DIGEST = "sha256:" + "ab" * 32
NAMES: tuple[list[str], ...] = (
    ["docker.io/library/box:latest"],
    ["localhost/my_image:1.1"],
    ["docker.io/my/app:v1", "v1"],
    ["localhost:5000/a/b:latest"],
    ["plain:latest", f"@{DIGEST}"],
    ["tagless"],
    [],
    ["docker.io/library/both:1"],
    ["localhost/both:1"],
)


def _numbers(wanted: str) -> list[int]:
    return [number for number, _ in chosen(list(enumerate(NAMES)), wanted, lambda names: names, "x")]


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        *((name, 0) for name in ("box", "box:latest", "docker.io/box", "docker.io/library/box")),
        *(
            (name, 0)
            for name in ("docker.io/library/box:latest", "index.docker.io/library/box", "library/box")
        ),
        *((name, 1) for name in ("my_image:1.1", "localhost/my_image:1.1")),
        *((name, 2) for name in ("v1", "my/app:v1", "docker.io/my/app:v1")),
        *((name, 3) for name in ("localhost:5000/a/b", "localhost:5000/a/b:latest")),
        *((name, 4) for name in ("plain", "docker.io/library/plain:latest", "docker.io/plain")),
        *((name, 4) for name in (DIGEST, f"@{DIGEST}", f"plain@{DIGEST}")),
        *((name, 5) for name in ("tagless", "tagless:latest")),
        *((f"@{number}", number) for number in range(len(NAMES))),
        ("docker.io/library/both:1", 7),
        ("localhost/both:1", 8),
        ("both:1", 8),  # as podman looks for what it built first
    ],
)
def test_names_are_as_people_write_them(wanted: str, number: int) -> None:
    assert _numbers(wanted) == [number]


_NONE = (
    *("box:1", "other", "my_image", "docker.io/my_image:1.1", "app:v1", "a/b", "quay.io/box"),
    *("@9", "@-1", "@", "@x", "", "sha256:" + "cd" * 32),
)


@pytest.mark.parametrize("wanted", _NONE)
def test_what_nothing_is_called_is_an_error_that_says_so(wanted: str) -> None:
    with pytest.raises(InvalidImage, match="x: no image is tagged"):
        _numbers(wanted)
