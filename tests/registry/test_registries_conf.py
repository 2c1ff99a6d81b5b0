from pathlib import Path

import pytest

from imgfs.errors import StoreError
from imgfs.registry.configuration import Configuration, Endpoint
from imgfs.registry.credentials import CredentialStore
from imgfs.registry.reference import Repository
from imgfs.registry.registries_conf import read_registries_conf


def endpoints(path: Path, text: str, name: str, *, by_digest: bool = False) -> list[Endpoint]:
    path.write_text(text)
    registries = read_registries_conf({"CONTAINERS_REGISTRIES_CONF": str(path)})
    host, _, rest = name.partition("/")
    found = Configuration(registries, CredentialStore([]))
    return list(found.endpoints(Repository(host, rest), by_digest=by_digest))


MIRRORS = """
[[registry]]
prefix = "r.example/team"
location = "inner.example:5000/t"
insecure = true
[[registry.mirror]]
location = "one.example"
[[registry.mirror]]
location = "two.example/x"
insecure = true
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "three.example"
pull-from-mirror = "tag-only"

[[registry]]
location = "r.example"
"""


def test_mirrors_come_first_and_the_longest_prefix_decides(tmp_path: Path) -> None:
    path = tmp_path / "conf"
    primary = Endpoint("inner.example:5000", "t/app", True, False)
    assert endpoints(path, MIRRORS, "r.example/team/app") == [
        Endpoint("one.example", "app", False, True),
        Endpoint("three.example", "app", False, True),
        primary,
    ]
    assert endpoints(path, MIRRORS, "r.example/team/app", by_digest=True) == [
        Endpoint("one.example", "app", False, True),
        Endpoint("two.example", "x/app", True, True),
        primary,
    ]
    assert endpoints(path, MIRRORS, "r.example/teams/app") == [
        Endpoint("r.example", "teams/app", False, False)
    ]
    assert endpoints(path, MIRRORS, "other.example/app") == [Endpoint("other.example", "app", False, False)]


def test_mirrors_may_be_for_digests_only(tmp_path: Path) -> None:
    text = '[[registry]]\nlocation="r"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="m"\n'
    assert [each.host for each in endpoints(tmp_path / "c", text, "r/a")] == ["r"]
    assert [each.host for each in endpoints(tmp_path / "c", text, "r/a", by_digest=True)] == ["m", "r"]


def test_a_wildcard_is_any_host_below(tmp_path: Path) -> None:
    text = '[[registry]]\nprefix="*.example"\ninsecure=true\n'
    assert endpoints(tmp_path / "c", text, "a.b.example/x") == [Endpoint("a.b.example", "x", True, False)]
    assert endpoints(tmp_path / "c", text, "a.example:5000/x") == [
        Endpoint("a.example:5000", "x", True, False)
    ]
    assert endpoints(tmp_path / "c", text, "example/x") == [Endpoint("example", "x", False, False)]
    moved = '[[registry]]\nprefix="*.example"\nlocation="proxy.example/all"\n'
    assert endpoints(tmp_path / "c", moved, "a.example/x/y") == [
        Endpoint("proxy.example", "all/x/y", False, False)
    ]


def test_a_blocked_registry_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"docker://r\.example/x: the registry is blocked"):
        endpoints(tmp_path / "c", '[[registry]]\nlocation="r.example"\nblocked=true\n', "r.example/x")


def test_files_are_read_in_the_order_of_podman(tmp_path: Path) -> None:
    folder = tmp_path / ".config/containers"
    (folder / "registries.conf.d").mkdir(parents=True)
    (folder / "registries.conf").write_text('[[registry]]\nlocation="r.example"\ninsecure=true\n')
    (folder / "registries.conf.d/10.conf").write_text(
        '[[registry]]\nprefix="r.example"\nlocation="ten.example"\n'
    )
    (folder / "registries.conf.d/20.conf").write_text(
        '[[registry]]\nprefix="r.example"\nlocation="twenty.example"\n'
    )
    found = read_registries_conf({"HOME": str(tmp_path)}).find("r.example/x")
    assert found is not None
    assert (found.location, found.is_insecure) == ("twenty.example", False)
    assert read_registries_conf({"CONTAINERS_REGISTRIES_CONF": "/dev/null"}).find("r.example/x") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[registry", "Expected"),
        ("registry = 1", "written \\[\\[registry\\]\\]"),
        ("[[registry]]\nblocked=true\n", "no location"),
        ('[[registry]]\nlocation=["r"]\n', "location is not a text"),
        ('[[registry]]\nlocation="r"\ninsecure="yes"\n', "insecure is neither true nor false"),
        ('[[registry]]\nlocation="r"\nmirror=1\n', "mirrors of r"),
        ('[[registry]]\nlocation="r"\n[[registry.mirror]]\n', "without a location"),
        (
            '[[registry]]\nlocation="r"\n[[registry.mirror]]\nlocation="m"\npull-from-mirror="x"\n',
            "pull-from-mirror",
        ),
    ],
)
def test_a_file_that_is_wrong_is_an_error_that_names_it(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "conf"
    with pytest.raises(StoreError, match=why) as raised:
        endpoints(path, text, "r/x")
    assert str(raised.value).startswith(f"{path}: ")


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such file"):
        read_registries_conf({"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "none")})
