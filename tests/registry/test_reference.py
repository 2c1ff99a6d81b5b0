import pytest

from imgfs.errors import StoreError
from imgfs.registry.reference import Repository, parse_registry_reference

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "written", "repository"),
    [
        ("docker://debian", "docker://docker.io/library/debian:latest", "docker.io/library/debian"),
        ("docker://me/app:1", "docker://docker.io/me/app:1", "docker.io/me/app"),
        ("docker://index.docker.io/debian", "docker://docker.io/library/debian:latest", "docker.io/library/debian"),
        ("docker://localhost/a/b/c", "docker://localhost/a/b/c:latest", "localhost/a/b/c"),
        ("docker://localhost:5000/app:*", "docker://localhost:5000/app:*", "localhost:5000/app"),
        ("docker://[::1]:5056/x:y", "docker://[::1]:5056/x:y", "[::1]:5056/x"),
        (f"docker://r.example/x@sha256:{HEX}", f"docker://r.example/x@sha256:{HEX}", "r.example/x"),
        (f"docker://r.example/x:1@sha256:{HEX}", f"docker://r.example/x:1@sha256:{HEX}", "r.example/x"),
    ],
)  # fmt: skip
def test_references_are_read_as_skopeo_reads_them(text: str, written: str, repository: str) -> None:
    reference = parse_registry_reference(text)
    assert str(reference) == written
    assert str(reference.repository) == repository
    assert parse_registry_reference(str(reference)) == reference


def test_a_host_alone_is_all_that_it_has() -> None:
    reference = parse_registry_reference("docker://localhost:5000/")
    assert (reference.host, reference.path) == ("localhost:5000", "")
    with pytest.raises(ValueError, match="names no repository"):
        _ = reference.repository


def test_repositories_are_ordered_and_print_as_people_write_them() -> None:
    assert sorted([Repository("b", "a"), Repository("a", "b")])[0] == Repository("a", "b")
    assert str(Repository("localhost:5000", "a/b")) == "localhost:5000/a/b"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("docker:///var/lib/docker", "a root of Docker's is written docker:/var/lib/docker"),
        ("docker://localhost:5000/UPPER", "is not a valid name for a repository"),
        ("docker://localhost:5000/a..b", "is not a valid name for a repository"),
        (f"docker://localhost:5000/{'a' * 300}", "is not a valid name for a repository"),
        ("docker://localhost:5000/a:-b", "'-b' is not a valid tag"),
        ("docker://localhost:5000/a:", "'' is not a valid tag"),
        ("docker://localhost:5000/a@sha256:1", "invalid digest"),
        ("docker://-x.example/a", "'-x.example' is not a valid name for a registry"),
        ("docker://user:secret@r.example/a", "invalid digest"),
        ("docker://", "is not a valid name for a repository"),
    ],
)
def test_what_is_no_reference_is_an_error_that_says_why(text: str, why: str) -> None:
    with pytest.raises(StoreError) as raised:
        parse_registry_reference(text)
    assert why in str(raised.value)


def test_a_password_in_a_reference_is_not_shown() -> None:
    with pytest.raises(StoreError) as raised:
        parse_registry_reference("docker://user:secret@r.example/a")
    assert "secret" not in str(raised.value)
