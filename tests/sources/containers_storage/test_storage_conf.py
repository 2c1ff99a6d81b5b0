"""Where podman and others keep images by their configuration."""

import os
from pathlib import Path

import pytest

from imgfs.sources.containers_storage.storage_conf import default_storage


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file that goes for this test."""
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    return tmp_path / "storage.conf"


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 30_000 + "]" * 30_000,
        "a" + ".a" * 30_000 + " = 1",
        "[storage]\ngraphroot = " + "9" * 10_000,
        "[storage]\n" + "a = 1\n" * 100_000,
        "\xff",
        "x = '" + "x" * 100_000 + "'",
    ],
    ids=["nested", "dotted", "digits", "repeated", "no text", "large"],
)
def test_a_configuration_that_is_absurd_says_nothing(
    conf: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    conf.write_bytes(text.encode("latin-1"))
    assert default_storage().graph_root.endswith("/containers/storage")
    (record,) = caplog.records
    assert str(conf) in record.getMessage()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "/var/lib/containers/storage"),
        ("[storage]\ngraphroot = 5\n", "/var/lib/containers/storage"),
        ('[storage]\ngraphroot = "/a//b/"\nrootless_storage_path = "/c"\n', "/a/b"),
        ("nonsense", "/var/lib/containers/storage"),
        ("storage = 5", "/var/lib/containers/storage"),
    ],
)
def test_root_has_the_graph_root(
    conf: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    conf.write_text(text)
    assert default_storage().graph_root == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "/data/containers/storage"),
        ('[storage]\ngraphroot = "/a"\n', "/a"),
        (
            '[storage]\ngraphroot = "/a"\nrootless_storage_path = "$HOME/${USER}/$UID/x"\n',
            "/home/me/me/1000/x",
        ),
    ],
)
@pytest.mark.parametrize("is_unshared", [False, True])
def test_others_have_a_store_of_their_own(
    conf: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str, is_unshared: bool
) -> None:
    """In the namespace of `podman unshare`, too."""
    monkeypatch.setattr(os, "geteuid", lambda: 0 if is_unshared else 1000)
    monkeypatch.setattr(os, "getuid", lambda: 0 if is_unshared else 1000)
    for name, value in (("USERNS_CONFIGURED", "done"), ("ROOTLESS_UID", "1000")):
        monkeypatch.setenv(f"_CONTAINERS_{name}", value if is_unshared else "")
    for name, value in (("HOME", "/home/me"), ("USER", "me"), ("XDG_DATA_HOME", "/data")):
        monkeypatch.setenv(name, value)
    conf.write_text(text)
    assert default_storage().graph_root == expected
