"""JSON as Go reads it: keys in any case, null anywhere, and fields of little use that are of a wrong type."""

import json
import sys

import msgspec
import pytest

from imgfs.errors import InvalidImage
from imgfs.go_json import _objects, parse_json


class Inner(msgspec.Struct, rename="camel"):
    some_name: str = ""
    count: int = 0


class Outer(msgspec.Struct):
    must: str
    inner: Inner | None = None
    inners: list[Inner] | None = None
    names: list[str] | None = None
    labels: dict[str, str] | None = None
    command: list[str] | str | None = None
    ids: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    raw: msgspec.Raw = msgspec.Raw()


def _read(document: object) -> Outer:
    return parse_json(json.dumps(document).encode(), Outer, "x")


@pytest.mark.parametrize("key", ["must", "MUST", "Must", "mu\u017ft"])
def test_keys_match_in_any_case(key: str) -> None:
    assert _read({key: "a"}).must == "a"


def test_keys_match_in_any_case_at_every_depth() -> None:
    read = _read({"must": "", "inner": {"SOMENAME": "a"}, "inners": [{}, {"somename": "b", "Count": 2}]})
    assert read.inner == Inner("a")
    assert read.inners == [Inner(), Inner("b", 2)]


@pytest.mark.parametrize("key", ["mu\ufb06", "\u0130nner", "must ", "must\0"])
def test_only_keys_that_differ_in_the_case_of_letters_match(key: str) -> None:
    assert _read({"must": "a", key: "b"}).must == "a"


def test_keys_written_with_escapes_match_too() -> None:
    assert parse_json(b'{"\\u004dust": "a", "inner": {"some\\u006eame": "b"}}', Outer, "x").inner == Inner(
        "b"
    )


def test_of_a_key_that_is_there_twice_the_last_counts() -> None:
    assert parse_json(b'{"must": "a", "must": "b"}', Outer, "x").must == "b"
    assert parse_json(b'{"must": "a", "MUST": "b"}', Outer, "x").must == "b"
    assert parse_json(b'{"MUST": "a", "must": "b"}', Outer, "x").must == "b"


def test_null_is_the_empty_value_of_what_stands_there() -> None:
    read = _read(
        {"must": None, "inners": [None, {"count": None}], "names": [None, "a"], "labels": {"a": None}}
    )
    assert read.must == ""
    assert read.inners == [Inner(), Inner()]
    assert read.names == ["", "a"]
    assert read.labels == {"a": ""}
    every = dict.fromkeys(("inner", "inners", "names", "labels", "command", "ids"))
    assert _read({"must": "a", **every}) == Outer("a", ids=None)
    assert _read({"must": None, "command": [None, "sh"]}).command == ["", "sh"]


@pytest.mark.parametrize("wrong", [5, True, "text", [], {}, [{}], [[]], [5], {"a": []}, {"count": "no"}])
@pytest.mark.parametrize("key", ["inner", "inners", "names", "labels", "command"])
def test_a_field_of_a_wrong_type_is_left_out_and_no_other(key: str, wrong: object) -> None:
    read = _read({"must": "a", key: wrong, "ids": ["b"]})
    assert (read.must, read.ids) == ("a", ["b"])


@pytest.mark.parametrize(
    "document", [{"must": 5}, {"must": "", "ids": "text"}, {"must": "", "ids": [5]}, {}, [], 5]
)
def test_what_is_needed_must_be_of_its_type(document: object) -> None:
    with pytest.raises(InvalidImage, match="x does not parse"):
        _read(document)


@pytest.mark.parametrize("document", [b"[null]", b'[{"NAMES": []}]', b"[{}]"])
def test_what_is_missing_is_called_by_its_key(document: bytes) -> None:
    with pytest.raises(InvalidImage, match="Object missing required field `must`"):
        parse_json(document, list[Outer], "x")


def test_text_that_is_not_utf8_is_replaced() -> None:
    read = parse_json(b'{"must": "a\xff", "names": ["\xc3\xa9"]}', Outer, "x")
    assert (read.must, read.names) == ("a\ufffd", ["é"])
    assert parse_json(b'{"must": "a", "other": "\xff"}', Outer, "x").must == "a"


def test_a_part_that_is_not_looked_into_is_kept_as_it_is() -> None:
    assert bytes(parse_json(b'{"MUST": "", "raw": [1,  null]}', Outer, "x").raw) == b"[1,  null]"
    assert bytes(parse_json(b'{"MUST": "", "raw": null}', Outer, "x").raw) == b"null"


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"must": "a"} b', b"[" * 100_000, b'{"inner": ' + b"[" * 100_000]
)
def test_what_is_no_json_is_an_error(data: bytes) -> None:
    with pytest.raises(InvalidImage, match=r"^x "):
        parse_json(data, Outer, "x")


def test_a_document_of_very_many_values_is_read_quickly_or_not_at_all() -> None:
    many = b'{"must": "a", "inners": [' + b"{}," * 1_000_000 + b"null]}"
    with pytest.raises(InvalidImage, match="does not parse"):
        parse_json(many, Outer, "x")
    with pytest.raises(InvalidImage, match="more than"):
        parse_json(b"[" + b"1," * 2_000_001 + b"1]", Outer, "x")


def test_keys_are_compared_in_each_document_however_many_had_the_same_before() -> None:
    for _ in range(2):
        assert _read({"must": "a", "Other": 1, "inner": {"someName": "b"}}).inner == Inner("b")
        assert _read({"must": "a", "Inner": {"SomeName": "b"}}).inner == Inner("b")
        assert _read({"must": "a", "Other": 1, "inner": {"somename": "b"}}).inner == Inner("b")


def test_what_is_remembered_of_keys_is_bounded() -> None:
    for number in range(1000):
        _read({"must": "a", str(number): 1, "x" * 10_000: 1})
        _read({"must": "a", str(number): 1})
    objects = _objects(Outer)
    assert objects is not None
    assert 0 < sys.getsizeof(objects._remembered) + sum(map(sys.getsizeof, objects._remembered)) < 100_000
