import pytest

from imgfs.registry.challenge import Challenge, parse_challenges


def test_parameters_are_read_quoted_and_bare() -> None:
    header = 'Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push",error=x'
    (challenge,) = parse_challenges([header])
    assert challenge.scheme == "bearer"
    assert challenge.get("realm") == "https://auth.example/token"
    assert challenge.get("scope") == "repository:a/b:pull,push"
    assert challenge.get("error") == "x"
    assert challenge.get("missing") == ""


def test_several_challenges_stand_in_one_line_or_in_several() -> None:
    one = parse_challenges(['Basic realm="a \\"b\\"", Bearer realm="c"'])
    assert one == [Challenge("basic", {"realm": 'a "b"'}), Challenge("bearer", {"realm": "c"})]
    assert parse_challenges(['Basic realm="a"', "Negotiate"]) == [
        Challenge("basic", {"realm": "a"}),
        Challenge("negotiate", {}),
    ]


@pytest.mark.parametrize(
    "text", ["", "=", '"', 'Bearer realm="unfinished', ",,,,", "Bearer " + "a=b," * 100_000]
)
def test_what_does_not_parse_ends_the_line(text: str) -> None:
    assert len(parse_challenges([text])) <= 2
