"""References as people write them: names with tags, and which image of a layout or an archive one means."""

from pathlib import Path

import pytest

from imgfs.errors import InvalidImage, StoreError
from imgfs.registry.reference import is_tag
from imgfs.sources.reference import familiar_name, full_name, narrowed, repository_of, split_tag

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
    return [number for number, _ in narrowed(list(enumerate(NAMES)), wanted, lambda names: names)]


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
    *("@9", "@-1", "@", "@x", "", "3", "sha256:" + "cd" * 32),
)


@pytest.mark.parametrize("wanted", _NONE)
def test_where_nothing_is_called_so_all_is_looked_at(wanted: str) -> None:
    assert len(_numbers(wanted)) == len(NAMES)


@pytest.mark.parametrize(("name", "found"), [("1.0", True), ("latest", True), ("a:1", False), ("a/b", False)])
def test_a_tag_has_no_repository(name: str, found: bool) -> None:
    assert is_tag(name) is found


@pytest.mark.parametrize(
    ("path", "is_archive", "repository"),
    [
        ("/srv/app", False, "app"),
        ("/srv/app-12.5/", False, "app-12.5"),
        ("/srv/app-12.5.tar", True, "app-12.5"),
        ("/srv/app.oci.tar.gz", True, "app"),
        ("/srv/My Layout", False, "my-layout"),
        ("/", False, "layout"),
    ],
)
def test_a_place_gives_a_valid_repository(path: str, is_archive: bool, repository: str) -> None:
    assert repository_of(path, is_archive=is_archive) == repository
    assert full_name(repository) == f"{repository}:latest"


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


def test_familiar_names_are_as_docker_shows_them() -> None:
    for name, shown in (
        ("docker.io/library/a:1", "a:1"),
        ("docker.io/me/a:1", "me/a:1"),
        ("library/a:1", "library/a:1"),
        ("quay.io/library/a:1", "quay.io/library/a:1"),
    ):
        assert familiar_name(name) == shown


def test_a_tag_begins_at_the_first_colon_behind_what_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").mkdir()
    for text, expected in (
        ("a:b", ("a:b", None)),
        ("a:b:c:d", ("a:b", "c:d")),
        ("a:b:", ("a:b", None)),
        ("absent:c:d", ("absent", "c:d")),
        ("absent", ("absent", None)),
    ):
        assert split_tag(text) == expected
    with pytest.raises(StoreError, match="path is missing"):
        split_tag(":tag")
