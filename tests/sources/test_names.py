"""Names of images, as docker takes and refuses them."""

import pytest

from imgfs.errors import InvalidImage
from imgfs.sources.names import full_name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a", "a:latest"),
        ("a:1.0_x-Y", "a:1.0_x-Y"),
        ("host:5000/a/b", "host:5000/a/b:latest"),
        ("docker.io/library/a:t", "docker.io/library/a:t"),
        ("Host.example/a__b--c.d", "Host.example/a__b--c.d:latest"),
        ("a-b--c.1-2:80/a", "a-b--c.1-2:80/a:latest"),
        ("my-company-internal-service-backend", "my-company-internal-service-backend:latest"),
        ("g" * 255, "g" * 255 + ":latest"),
    ],
)
def test_names_get_a_tag(given: str, expected: str) -> None:
    assert full_name(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        *(
            "",
            ":",
            "a:",
            ":t",
            "A",
            "a/",
            "/a",
            "a//b",
            "a b",
            "a:-",
            "a" * 256,
            "a:" + "t" * 129,
            "a@sha256:1",
        ),
        *("G" * 255, "-a.b/c", "a-.b/c", "a..b/c"),
    ],
)
def test_what_is_no_name_is_refused(given: str) -> None:
    with pytest.raises(InvalidImage, match="not a valid name"):
        full_name(given)
