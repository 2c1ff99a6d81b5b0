"""Dockerfile instructions change a configuration as docker's do."""

import pytest

from imgfs.errors import InvalidImage
from imgfs.own.changes import Config, apply_change


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ('CMD ["a", "b c"]', {"Cmd": ["a", "b c"]}),
        ("cmd a b", {"Cmd": ["/bin/sh", "-c", "a b"]}),
        ('ENTRYPOINT ["x"]', {"Entrypoint": ["x"]}),
        ("ENV A=1 B='2 3'", {"Env": ["A=1", "B=2 3"]}),
        ("ENV A 1 2", {"Env": ["A=1 2"]}),
        ("WORKDIR /a/../b", {"WorkingDir": "/b"}),
        ("USER 1000:1000", {"User": "1000:1000"}),
        ('LABEL a=1 "b c"="d e"', {"Labels": {"a": "1", "b c": "d e"}}),
        ("EXPOSE 80 53/udp", {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}),
        ('VOLUME ["/a", "/b"]', {"Volumes": {"/a": {}, "/b": {}}}),
        ("STOPSIGNAL SIGKILL", {"StopSignal": "SIGKILL"}),
    ],
)
def test_an_instruction_sets_its_part(instruction: str, expected: Config) -> None:
    config: Config = {}
    apply_change(config, instruction)
    assert config == expected


def test_changes_add_to_what_is_there() -> None:
    config: Config = {"Env": ["A=1", "B=2"], "Labels": {"x": "1"}, "WorkingDir": "/srv", "Cmd": ["old"]}
    for instruction in ("ENV B=3 C=4", "LABEL y=2", "WORKDIR www", 'ENTRYPOINT ["e"]'):
        apply_change(config, instruction)
    assert config["Env"] == ["A=1", "B=3", "C=4"]
    assert config["Labels"] == {"x": "1", "y": "2"}
    assert config["WorkingDir"] == "/srv/www"
    assert "Cmd" not in config


@pytest.mark.parametrize(
    "instruction", ["", "CMD", "RUN make", "ENV A", "LABEL =x", "ENV 'unclosed", "ENV A=1 B"]
)
def test_what_does_not_parse_is_refused_and_named(instruction: str) -> None:
    with pytest.raises(InvalidImage, match=r"instruction|value|KEY|quotation") as caught:
        apply_change({}, instruction)
    assert repr(instruction) in str(caught.value)
