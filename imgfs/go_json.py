"""JSON documents from outside, read as Go's encoding/json reads them, since engines are written in Go.

Keys match in any case, null is the empty value of any type, and bytes that are not UTF-8 are replaced. Unlike in Go, an
optional field of a wrong type is ignored: no image is lost for a field of little use. Documents as engines write them
are decoded by msgspec alone; only others are read field by field here.
"""

import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from imgfs.decoders import json_decoder
from imgfs.errors import InvalidImage

T = TypeVar("T")

MAX_VALUES = 2_000_000
"""Values in one JSON document; once decoded, each may take some 100 bytes, and be written in two."""

_READ_BY_FIELD = 50_000  # values; a document with more is as msgspec reads it
_REMEMBERED, _MOST_KEYS, _LONGEST_KEY = 64, 32, 64  # of sets of keys that were compared with the fields
_Object = dict[str, msgspec.Raw]
_BEYOND_ASCII = {0x17F: "s", 0x212A: "k"}
_EMPTY: Mapping[object, object] = {str: "", int: 0, float: 0.0, bool: False}


def parse_json(data: bytes | msgspec.Raw, kind: type[T], name: str) -> T:
    """A JSON document as a `kind`, a msgspec type.

    A field whose default is UNSET may be missing, but is not ignored if it has a wrong type. Raises InvalidImage
    naming `name`, also if there may be more than MAX_VALUES values.
    """
    data = bytes(data)
    values = data.count(b",") if len(data) > _READ_BY_FIELD else 0  # counting takes as long as decoding
    if values > MAX_VALUES:
        raise InvalidImage(f"{name}: more than {MAX_VALUES} values in one document")
    try:
        return _parse(data, kind, may_read_by_field=values <= _READ_BY_FIELD)
    except RecursionError:
        raise InvalidImage(f"{name} is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidImage(f"{name} does not parse: {error}") from None


def _parse(data: bytes, kind: type[T], *, may_read_by_field: bool) -> T:
    shape: Any = kind
    objects = _objects(shape) if may_read_by_field else None
    try:
        value = json_decoder(kind).decode(data)
        if objects is None or objects.are_in_known_case(data):
            return value
    except (msgspec.MsgspecError, UnicodeDecodeError):
        if not may_read_by_field:
            raise
    return _read(data.decode("utf-8", "replace").encode(), kind)  # type: ignore[no-any-return]


class _Field(msgspec.Struct, frozen=True):
    """A field of a Struct: its name there, its type, and whether a wrong type is an error."""

    name: str
    kind: Any
    needed: bool


class _Objects:
    """JSON objects that are to become a Struct, one of them or a list."""

    def __init__(self, kind: type[msgspec.Struct], *, is_list: bool) -> None:
        self._is_list = is_list
        self._shape: Any = list[_Object | None] | None if is_list else _Object | None
        exact, folded = _fields(kind)
        self._exact, self._folded = frozenset(exact), frozenset(folded)
        inside = ((key, _objects(field.kind)) for key, field in exact.items())
        self._inside = [(key, objects) for key, objects in inside if objects]
        # keys in known case: thousands of documents have the same
        self._remembered: set[tuple[str, ...]] = set()

    def are_in_known_case(self, data: bytes | msgspec.Raw) -> bool:
        """Whether no key in them differs from a field's only in case. Raises msgspec.MsgspecError."""
        found = json_decoder(self._shape).decode(data)
        for each in (found or ()) if self._is_list else (found,):
            if each is None:
                continue
            keys = tuple(each)
            if keys not in self._remembered:
                others = _folded("\0".join(each.keys() - self._exact)).split("\0")  # faster than one by one
                if not self._folded.isdisjoint(others):
                    return False
                self._remember(keys)
            for key, objects in self._inside:
                if key in each and not objects.are_in_known_case(each[key]):
                    return False
        return True

    def _remember(self, keys: tuple[str, ...]) -> None:
        is_short = len(keys) <= _MOST_KEYS and max(map(len, keys), default=0) <= _LONGEST_KEY
        if is_short and len(self._remembered) < _REMEMBERED:
            self._remembered.add(keys)


@cache
def _objects(kind: Any) -> _Objects | None:
    (kind, *_) = _choices(kind)
    if _is_struct(kind):
        return _Objects(kind, is_list=False)
    if get_origin(kind) is list and _is_struct(get_args(kind)[0]):
        return _Objects(get_args(kind)[0], is_list=True)
    return None


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[Mapping[str, _Field], Mapping[str, _Field]]:
    """The fields by their keys in JSON, and by these in one case."""
    exact = {}
    for field in msgspec.structs.fields(kind):
        needed = field.required or field.default is msgspec.UNSET
        exact[field.encode_name] = _Field(field.name, field.type, needed)
    return exact, {_folded(key): field for key, field in exact.items()}


def _folded(key: str) -> str:
    """A key in one case, as Go folds it: letter by letter; two letters beyond ASCII fold to ASCII."""
    return (key if key.isascii() else key.translate(_BEYOND_ASCII)).lower()


@cache
def _choices(kind: Any) -> tuple[Any, ...]:
    """The types that a value may have besides null."""
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(one for one in get_args(kind) if one not in (types.NoneType, msgspec.UnsetType))
    return (kind,)


def _read(data: bytes | msgspec.Raw, kind: Any) -> Any:
    """The value in `data`. Raises msgspec.MsgspecError, also if a required field is missing."""
    if kind is msgspec.Raw:
        return msgspec.Raw(data)
    choices = _choices(kind)
    if bytes(data).strip() == b"null":
        return None if choices != (kind,) else _empty(kind)
    for choice in choices[:-1]:
        try:
            return _read_one(data, choice)
        except msgspec.MsgspecError:
            continue
    return _read_one(data, choices[-1])


def _read_one(data: bytes | msgspec.Raw, kind: Any) -> Any:
    if _is_struct(kind):
        return _read_struct(json_decoder(_Object).decode(data), kind)
    if get_origin(kind) is list:
        return [_read(each, get_args(kind)[0]) for each in json_decoder(list[msgspec.Raw]).decode(data)]
    if get_origin(kind) is dict:
        return {
            key: _read(each, get_args(kind)[1]) for key, each in json_decoder(_Object).decode(data).items()
        }
    return json_decoder(kind).decode(data)


def _read_struct(found: _Object, kind: type[msgspec.Struct]) -> msgspec.Struct:
    exact, folded = _fields(kind)
    values = {}
    for key, value in found.items():
        field = exact.get(key) or folded.get(_folded(key))
        if field is None:
            continue
        try:
            values[field.name] = _read(value, field.kind)
        except msgspec.MsgspecError:
            if field.needed:
                raise
    for key in kind.__struct_encode_fields__[: len(exact) - len(kind.__struct_defaults__)]:
        if exact[key].name not in values:
            raise msgspec.ValidationError(f"Object missing required field `{key}`")
    return kind(**values)


def _empty(kind: Any) -> Any:
    """What Go decodes null to."""
    if get_origin(kind) is Annotated:
        return _empty(get_args(kind)[0])
    if get_origin(kind) in (list, dict):
        return get_origin(kind)()
    return _read_struct({}, kind) if _is_struct(kind) else _EMPTY.get(kind)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
