"""Rules, made of values as options and files give them."""

import pytest

from imgfs.checking import DIVE_DEFAULTS, Rules, rules_of
from imgfs.errors import InvalidRules


def test_values_are_read() -> None:
    values = {
        "lowest-efficiency": "95%",
        "highest-wasted-bytes": "20M",
        "highest-user-wasted-percent": 0.1,
        "highest-size": 1000,
        "must-exist": ["/etc/passwd"],
        "must-not-exist": ("*.pyc",),
        "must-not-hide": ["**/id_rsa"],
        "allow-setuid": [],
    }
    assert rules_of(values, "here") == Rules(
        0.95, 20 << 20, 0.1, 1000, ["/etc/passwd"], ["*.pyc"], ["**/id_rsa"], []
    )


@pytest.mark.parametrize("value", ["disabled", "Off", " false ", ""])
def test_a_rule_can_be_disabled(value: str) -> None:
    assert rules_of({"lowest-efficiency": value, "highest-size": value}, "here") == Rules()


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("lowest-efficiency", 95, "95 is neither between 0 and 1 nor a percentage such as '95%'"),
        ("lowest-efficiency", True, "True is neither between"),
        ("lowest-efficiency", "nan", "'nan' is neither between"),
        ("highest-user-wasted-percent", "101%", "'101%' is neither between"),
        ("highest-size", "big", "'big' is not a size such as 500M or 8G"),
        ("highest-size", True, "'True' is not a size"),
        ("must-exist", "/etc/passwd", "'/etc/passwd' is not a list of paths or patterns"),
        ("must-exist", [1], "is not a list of paths"),
        ("must-exist", [""], "is not a list of paths"),
    ],
)
def test_a_value_that_is_none_is_an_error_with_its_key(key: str, value: object, error: str) -> None:
    with pytest.raises(InvalidRules) as caught:
        rules_of({key: value}, "rules.toml")
    assert str(caught.value).startswith(f"rules.toml: {key}: ")
    assert error in str(caught.value)


def test_an_unknown_key_is_an_error_with_what_may_be_meant() -> None:
    with pytest.raises(InvalidRules, match=r"^f: unknown key .must_exist.; did you mean must-exist\?$"):
        rules_of({"must_exist": []}, "f")
    with pytest.raises(InvalidRules, match=r"^f: unknown key .x.; known are lowest-efficiency, "):
        rules_of({"x": []}, "f")


def test_the_defaults_are_those_of_dive() -> None:
    """DefaultCIRules of dive, cmd/dive/cli/internal/options/ci_rules.go."""
    assert rules_of(DIVE_DEFAULTS, "") == Rules(lowest_efficiency=0.9, highest_user_wasted_percent=0.1)
