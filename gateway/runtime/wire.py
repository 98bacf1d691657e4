"""Converts typed values to JSON types and back: dataclasses, named tuples, enums, bytes and containers of them.

Used for calls from the supervisor to its workers. A dictionary with keys other than strings becomes a list of pairs.
"""

from __future__ import annotations

import base64
import types
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Convert a value to JSON types. Raises `TypeError` for a type that is not supported."""
    if value is None or isinstance(value, str | int | float):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, bytes):
        return _encode_bytes(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        if all(type(key) is str for key in value):
            return {key: encode(item) for key, item in value.items()}
        return [[encode(key), encode(item)] for key, item in value.items()]
    if isinstance(value, Sequence):
        return [encode(item) for item in value]
    raise TypeError(f"cannot encode {type(value).__name__}")


def decode(kind: type[T], value: Any) -> T:
    """Convert the result of `encode` back to type `kind`. Raises `TypeError` or `ValueError` when it does not match."""
    return cast("T", _decode(kind, value))


def _decode(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if isinstance(kind, NewType):
        return _decode(kind.__supertype__, value)
    if origin in {Union, types.UnionType}:
        return None if value is None else _decode(_optional_type(kind), value)
    if origin is not None:
        return _decode_container(origin, get_args(kind), value)
    if kind is Any or value is None:
        return value
    if kind is bytes:
        return base64.b64decode(value["base64"]) if isinstance(value, dict) else value.encode()
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(value, dict):
            raise TypeError(f"expected an object for {kind.__name__}")
        return kind(**{name: _decode(hint, value[name]) for name, hint in _hints(kind).items() if name in value})
    if issubclass(kind, tuple):
        hints = _hints(kind)
        return kind(**{name: _decode(hint, item) for (name, hint), item in zip(hints.items(), value, strict=True)})
    return kind(value)


def _decode_container(origin: Any, arguments: tuple[Any, ...], value: Any) -> Any:
    if issubclass(origin, Mapping):
        key_kind, item_kind = (*arguments, int) if origin is Counter else arguments
        pairs = value.items() if isinstance(value, dict) else _items(value)
        decoded = {_decode(key_kind, key): _decode(item_kind, item) for key, item in pairs}
        return Counter(decoded) if origin is Counter else decoded
    if origin is tuple and Ellipsis not in arguments:
        return tuple(_decode(argument, item) for argument, item in zip(arguments, _items(value), strict=True))
    items = [_decode(arguments[0], item) for item in _items(value)]
    return tuple(items) if origin is tuple else items


def _items(value: Any) -> list[Any] | tuple[Any, ...]:
    """The items of an array. Raises `TypeError`: a text would have items, too."""
    if not isinstance(value, list | tuple):
        raise TypeError("expected an array")
    return value


def _encode_bytes(value: bytes) -> Any:
    """UTF-8, as an encoded event is, as text; any other bytes as an object with base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _optional_type(kind: Any) -> Any:
    """`T` of `T | None`. Raises `TypeError` for a union of several types."""
    kinds = [member for member in get_args(kind) if member is not type(None)]
    if len(kinds) != 1:
        raise TypeError(f"cannot decode {kind}")
    return kinds[0]


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
