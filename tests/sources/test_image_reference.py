"""How images and paths in them are named."""

import os
from pathlib import Path

import pytest

from imgfs.errors import StoreError
from imgfs.sources import SCHEMES
from imgfs.sources.image_reference import ImageReference, parse_image_reference


def parse(text: str) -> ImageReference:
    return parse_image_reference(text, SCHEMES)


@pytest.mark.parametrize(
    ("text", "source", "name", "path"),
    [
        ("debian", None, "debian", None),
        ("debian:12", None, "debian:12", None),
        ("debian:12:/etc/passwd", None, "debian:12", "/etc/passwd"),
        ("localhost:5000/app:1:/etc", None, "localhost:5000/app:1", "/etc"),
        ("sha256:0123:/", None, "sha256:0123", "/"),
        ("app@sha256:0123", None, "app@sha256:0123", None),
        ("docker:app", "docker:", "app", None),
        ("docker:app:1:/a:/b", "docker:", "app:1", "/a:/b"),
        ("docker:[/mnt/disk/docker]app:1:/etc", "docker:/mnt/disk/docker", "app:1", "/etc"),
        ("docker:/mnt/disk/docker", "docker:/mnt/disk/docker", "", None),
        ("docker:", "docker:", "", None),
        ("containerd:[/x#k8s.io]app", "containerd:/x#k8s.io", "app", None),
        ("containerd:#k8s.io", "containerd:#k8s.io", "", None),
        ("containers-storage:[overlay@/x+/run]", "containers-storage:[overlay@/x+/run]", "", None),
        ("containers-storage:[overlay@/x]app", "containers-storage:[overlay@/x]", "app", None),
        ("imgfs:[/store]app", "imgfs:/store", "app", None),
        ("oci:/srv/layout:tag", "oci:/srv/layout", "tag", None),
        ("oci:/srv/layout:tag:/etc", "oci:/srv/layout", "tag", "/etc"),
        ("docker-archive:a.tar:@1:/etc", "docker-archive:a.tar", "@1", "/etc"),
        ("/srv/a.tar:/etc", "/srv/a.tar", "", "/etc"),
        ("./a.tar:app:1", "./a.tar", "app:1", None),
    ],
)
def test_an_image_is_named_as_skopeo_and_docker_do(
    text: str, source: str | None, name: str, path: str | None
) -> None:
    assert parse(text) == ImageReference(source, name, path)


def test_what_exists_under_the_whole_name_is_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.makedirs("odd:/place")
    assert parse(f"{tmp_path}/odd:/place").path is None
    assert parse(f"oci:{tmp_path}/odd:/place").path is None
    os.mkdir("root")
    assert parse("docker:root") == ImageReference("docker:", "root", None)
    assert parse("docker:./root") == ImageReference("docker:./root", "", None)


def test_what_names_nothing_is_refused() -> None:
    with pytest.raises(StoreError, match="names no image"):
        parse("")


@pytest.mark.parametrize(
    ("text", "source", "path"),
    [
        ("docker://debian", "docker://docker.io/library/debian:latest", None),
        ("docker://index.docker.io/a/b:1:/etc", "docker://docker.io/a/b:1", "/etc"),
        ("docker://h.example:5000/a/b", "docker://h.example:5000/a/b:latest", None),
        ("docker://localhost/a:/etc/passwd", "docker://localhost/a:latest", "/etc/passwd"),
        ("docker://[::1]:5000/a:1:/x:/y", "docker://[::1]:5000/a:1", "/x:/y"),
        (f"docker://h.example/a@sha256:{'0' * 64}:/x", f"docker://h.example/a@sha256:{'0' * 64}", "/x"),
        ("docker://h.example/a:*", "docker://h.example/a:*", None),
        ("docker://h.example/", "docker://h.example/", None),
    ],
)
def test_a_registry_is_recognised_before_the_store_of_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, source: str, path: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse(text) == ImageReference(source, "", path)


def test_a_root_of_docker_behind_two_slashes_is_refused_with_a_hint() -> None:
    with pytest.raises(StoreError, match="docker:/var/lib/docker"):
        parse("docker:///var/lib/docker")
