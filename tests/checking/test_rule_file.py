"""Files of rules: ours in TOML, and dive's in YAML."""

from pathlib import Path

import pytest

from imgfs.checking import Rules, rules_of
from imgfs.checking.rule_file import find_rule_file, read_rule_values
from imgfs.errors import InvalidRules


def read(path: Path, text: str | bytes) -> Rules:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return rules_of(read_rule_values(str(path)), str(path))


@pytest.mark.parametrize(
    "value", ["20MB", "20Mb", "20 mb", "20m", "20000KB", "20,000,000", "0.02GB", '"20MB"']
)
def test_a_file_of_dive_means_what_dive_reads(tmp_path: Path, value: str) -> None:
    text = f"---\nrules:\n  # comment\n  lowestEfficiency: 0.95\n  highestWastedBytes: {value} # so many\n"
    assert read(tmp_path / ".dive-ci", text) == Rules(0.95, 20_000_000, 0.1)


def test_binary_units_are_binary(tmp_path: Path) -> None:
    assert read(tmp_path / ".dive-ci", "rules: {highestWastedBytes: 1.5MiB}").highest_wasted_bytes == 3 << 19


@pytest.mark.parametrize("text", ["", "---\n", "rules:\n", "# nothing\n", "rules:\n  lowestEfficiency:\n"])
def test_what_a_file_of_dive_does_not_say_is_as_in_dive(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / ".dive-ci", text) == Rules(0.9, None, 0.1)


def test_rules_of_dive_can_be_disabled(tmp_path: Path) -> None:
    text = 'rules:\n  lowestEfficiency: off\n  highestWastedBytes: "disabled"\n  highestUserWastedPercent: false\n'
    assert read(tmp_path / ".dive-ci", text) == Rules()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "rules:\n  lowestEfficency: 0.9\n",
            "line 2: unknown key 'lowestEfficency'; did you mean lowestEfficiency?",
        ),
        ("plugins: []\nrules:\n", "line 1: unknown key 'plugins'; known are rules"),
        ("rules:\n  lowestEfficiency: 2\n", "line 2: lowestEfficiency: '2' is neither between 0 and 1"),
        (
            "rules:\n  highestWastedBytes: 20 apples\n",
            "line 2: highestWastedBytes: '20 apples' is not a size",
        ),
        ("rules:\n  highestWastedBytes: 1.2.3MB\n", "line 2: highestWastedBytes: '1.2.3MB' is not a size"),
        ("rules:\n  lowestEfficiency: [0.9]\n", "line 2: lowestEfficiency is not one value"),
        (
            "rules:\n  lowestEfficiency: 1\n  lowestEfficiency: 0\n",
            "line 3: 'lowestEfficiency' is there twice",
        ),
        ("- rules\n", "line 1: keys and values are expected"),
        ("rules: 5\n", "line 1: keys and values are expected"),
        ("rules:\n\tlowestEfficiency: 1\n", "line 2: found character '\\t' that cannot start any token"),
        ("a: 1\n--- \nb: 2\n", "line 2: but found another document"),
        ("rules: \x07", "special characters are not allowed"),
    ],
)
def test_an_error_in_a_file_of_dive_names_the_line(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(InvalidRules) as caught:
        read(tmp_path / ".dive-ci", text)
    assert str(caught.value).startswith(f"{tmp_path}/.dive-ci: ")
    assert error in str(caught.value)


def test_our_own_file_is_toml(tmp_path: Path) -> None:
    text = 'highest-size = "1.5G"\nmust-not-hide = [\n  "**/*.pem",\n]\n'
    assert read(tmp_path / "x.toml", text) == Rules(highest_size=3 << 29, must_not_hide=["**/*.pem"])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("must-exist = \n", "line 1"),
        ("must-exists = []\n", "unknown key 'must-exists'; did you mean must-exist?"),
        ("[rules]\nx = 1", "unknown key 'rules'"),
        ("highest-size = [1]", "highest-size: '[1]' is not a size"),
        (b"\xff", "not a text in UTF-8"),
        (b"#" * (1 << 20 | 1), "more than 1M"),
    ],
)
def test_an_error_in_our_own_file_names_the_key_or_line(
    tmp_path: Path, text: str | bytes, error: str
) -> None:
    with pytest.raises(InvalidRules) as caught:
        read(tmp_path / "x.toml", text)
    assert str(caught.value).startswith(f"{tmp_path}/x.toml: ")
    assert error in str(caught.value)


def test_our_own_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_rule_file() is None
    (tmp_path / ".dive-ci").touch()
    assert find_rule_file() == ".dive-ci"
    (tmp_path / ".imgfs-check.toml").touch()
    assert find_rule_file() == ".imgfs-check.toml"
