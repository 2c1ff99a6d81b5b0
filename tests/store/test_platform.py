import pytest

from imgfs.errors import InvalidImage
from imgfs.store import Platform


@pytest.mark.parametrize("text", ["linux", "linux/amd64", "linux/arm/v7"])
def test_a_platform_prints_as_it_is_written(text: str) -> None:
    assert str(Platform.parse(text)) == text


@pytest.mark.parametrize("text", ["", "/", "linux/", "/amd64", "linux//v7", "a/b/c/d"])
def test_what_is_not_written_as_a_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidImage, match="invalid platform"):
        Platform.parse(text)


def test_a_platform_accepts_what_differs_in_nothing_both_say() -> None:
    arm = Platform.parse("linux/arm/v7")
    assert arm.accepts(arm)
    assert arm.accepts(Platform("linux", "arm"))
    assert arm.accepts(Platform(""))
    assert Platform("linux").accepts(arm)


def test_a_platform_refuses_another_system_architecture_or_variant() -> None:
    arm = Platform.parse("linux/arm/v7")
    for other in ("windows/arm/v7", "linux/arm64/v7", "linux/arm/v6"):
        assert not arm.accepts(Platform.parse(other))
