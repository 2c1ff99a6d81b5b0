from pathlib import Path

import pytest

from imgfs.errors import StoreError
from imgfs.registry.configuration import Configuration, Endpoint
from imgfs.registry.credentials import CredentialStore
from imgfs.registry.reference import Repository
from imgfs.registry.registries_conf import RegistriesConf, read_registries_conf


def read(path: Path) -> RegistriesConf:
    environment = {"CONTAINERS_REGISTRIES_CONF": str(path), "HOME": str(path.parent / "home")}
    return read_registries_conf(environment, str(path.parent / "system"))


def endpoints(path: Path, text: str, name: str, *, by_digest: bool = False) -> list[Endpoint]:
    path.write_text(text)
    registries = read(path)
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
    primary = Endpoint("inner.example:5000", "t/app", True, True)
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
        Endpoint("proxy.example", "all/x/y", False, True)
    ]
    mirrored = f'{text}[[registry.mirror]]\nlocation="m.test"\n'
    assert endpoints(tmp_path / "c", mirrored, "a.example:5000/x") == [
        Endpoint("m.test:5000", "x", False, True),
        Endpoint("a.example:5000", "x", True, False),
    ]


def test_a_blocked_registry_is_an_error(tmp_path: Path) -> None:
    text = """
[[registry]]
location = "r.example"
blocked = true
[[registry]]
prefix = "moved.example"
location = "r.example/a"
[[registry]]
location = "mirrored.example"
[[registry.mirror]]
location = "r.example"
"""
    for name in ("r.example/x", "moved.example/x"):
        with pytest.raises(StoreError, match=r"docker://r\.example/.*x: r\.example is blocked in .*/c$"):
            endpoints(tmp_path / "c", text, name)
    assert [each.host for each in endpoints(tmp_path / "c", text, "mirrored.example/x")] == [
        "mirrored.example"
    ]


def test_lists_of_version_1_are_read(tmp_path: Path) -> None:
    text = '[registries.insecure]\nregistries=["i"]\n[registries.block]\nregistries=["b"]\n'
    assert endpoints(tmp_path / "c", text, "i/x") == [Endpoint("i", "x", True, False)]
    with pytest.raises(StoreError, match="docker://b/x: b is blocked"):
        endpoints(tmp_path / "c", text, "b/x")


def test_the_first_table_of_a_file_counts(tmp_path: Path) -> None:
    text = '[[registry]]\nlocation="r"\ninsecure=true\n[[registry]]\nprefix="r"\nlocation="other"\n'
    assert [each.host for each in endpoints(tmp_path / "c", text, "r/x")] == ["r"]


def table(location: str, more: str = "") -> str:
    return f'{more}\n[[registry]]\nprefix="r.example"\nlocation="{location}"\n'


def test_files_are_read_in_the_order_of_podman(tmp_path: Path) -> None:
    system, user = tmp_path / "system", tmp_path / "home/.config/containers"
    environment = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "nowhere")}
    only = tmp_path / "only"

    def found() -> tuple[str, list[str]]:
        conf = read_registries_conf(environment, str(system))
        registry = conf.find("r.example/x")
        return registry.location if registry is not None else "", list(conf.helpers)

    assert found() == ("", ["containers-auth.json"])
    for path, text, location in (
        (system / "registries.conf", table("main", 'credential-helpers=["one", "two"]'), "main"),
        (system / "registries.conf.d/20.conf", table("20"), "20"),
        (system / "registries.conf.d/10.conf", table("10"), "20"),
        (system / "registries.conf.d/30.txt", table("30"), "20"),
        (user / "registries.conf.d/01.conf", table("own"), "own"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        assert found() == (location, ["one", "two"])
    only.write_text("")
    environment["CONTAINERS_REGISTRIES_CONF"] = str(only)
    assert found() == ("own", ["containers-auth.json"])
    (user / "registries.conf.d/01.conf").unlink()
    assert found() == ("20", ["containers-auth.json"])
    del environment["CONTAINERS_REGISTRIES_CONF"]
    (user / "registries.conf").write_text("")
    assert found() == ("", ["containers-auth.json"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[registry", "Expected"),
        ("registry = 1", r"Expected `array`, got `int` - at `\$.registry`"),
        ("x = " + "[" * 5000, "nested too deeply"),
        ("[[registry]]\nblocked=true\n", "no location"),
        ('[[registry]]\nprefix="r"\n', "no location"),
        ('[[registry]]\nlocation=["r"]\n', "Expected `str`"),
        ('[[registry]]\nlocation="https://r"\n', "without http"),
        ('[[registry]]\nprefix="*.r/x"\n', r"more than \*\.HOST"),
        ('[[registry]]\nlocation="r"\ninsecure="yes"\n', "Expected `bool`"),
        ('[[registry]]\nlocation="r"\nmirror=1\n', "Expected `array`"),
        ('[[registry]]\nlocation="r"\n[[registry.mirror]]\n', "mirror.* of r has no location"),
        (
            '[[registry]]\nlocation="r"\n[[registry.mirror]]\nlocation="m"\npull-from-mirror="x"\n',
            "Invalid enum value 'x' - at .*mirror",
        ),
        (
            '[[registry]]\nlocation="r"\nmirror-by-digest-only=true\n'
            '[[registry.mirror]]\nlocation="m"\npull-from-mirror="all"\n',
            "pull-from-mirror has no place beside",
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
