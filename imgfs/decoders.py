"""Decoders of JSON and MessagePack to msgspec's types, each made once.

msgspec (0.22) inspects a Struct type when a decoder for it is first made, and the process crashes if two threads do
that at the same time. So all decoders are made here, one after another; once made, threads may share them.
"""

from threading import Lock
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_making = Lock()
_json: dict[object, msgspec.json.Decoder[Any]] = {}
_msgpack: dict[object, msgspec.msgpack.Decoder[Any]] = {}


def json_decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """A decoder of JSON to a `kind`: raises msgspec.MsgspecError, UnicodeDecodeError and RecursionError."""
    made = _json.get(kind)
    if made is not None:
        return made
    with _making:
        return _json.setdefault(kind, msgspec.json.Decoder(kind))


def msgpack_decoder(kind: type[T]) -> msgspec.msgpack.Decoder[T]:
    """A decoder of MessagePack to a `kind`: raises msgspec.MsgspecError."""
    made = _msgpack.get(kind)
    if made is not None:
        return made
    with _making:
        return _msgpack.setdefault(kind, msgspec.msgpack.Decoder(kind))


def converted(document: object, kind: type[T]) -> T:
    """Mappings, lists and plain values of another format as a `kind`: raises msgspec.ValidationError."""
    with _making:
        return msgspec.convert(document, kind)
