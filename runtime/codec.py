"""Dataclasses to JSON values and back, driven by their type annotations.

Fields equal to their default are left out. Where a field may hold several classes, the JSON object names its class
under `is`. Decoding checks every type, refuses unknown and missing fields, and never builds anything but the classes
annotated, so it is safe on files from strangers.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any

TAG = "is"
MAX_DEPTH = 64  # nesting of dataclasses; programs nest loops, everything else is flat
INT_LIMIT = 1 << 53  # every int is exact in any JSON reader
NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}

Decoder = Callable[[Any, int], Any]


class DecodeError(ValueError):
    """A JSON value that does not fit its annotation; `path` grows outwards while the error travels up."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path = ""

    def inside(self, step: str) -> DecodeError:
        self.path = step + self.path
        return self

    def __str__(self) -> str:
        return f"{self.path.lstrip('.')}: {self.message}" if self.path else self.message


def encode(value: Any) -> Any:
    """The JSON value of a dataclass, enum, tuple, list, dict or scalar."""
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _encode_dataclass(value)
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if math.isfinite(value) else str(float(value))


def _encode_dataclass(value: Any) -> dict[str, Any]:
    cls: Any = type(value)
    fields = _fields(cls)
    result: dict[str, Any] = {TAG: cls.__name__}
    for name, default in fields.items():
        item = getattr(value, name)
        if default is dataclasses.MISSING or item != default:
            result[name] = encode(item)
    return result


def decode(hint: Any, value: Any) -> Any:
    """The Python value that `value` encodes, of the annotated type `hint`. Raises DecodeError."""
    return _decoder(hint)(value, 0)


@functools.cache
def _fields(cls: Any) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(cls)}


@functools.cache
def _decoder(hint: Any) -> Decoder:
    origin = typing.get_origin(hint)
    if origin is typing.Union or origin is types.UnionType:
        return _union(typing.get_args(hint))
    if origin is tuple:
        return _tuple(typing.get_args(hint))
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(Any, hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint)
    return _SCALARS[hint]


def _int(value: Any, _depth: int) -> int:
    if type(value) is not int:
        raise DecodeError(f"expected an integer, got {_brief(value)}")
    if not -INT_LIMIT < value < INT_LIMIT:
        raise DecodeError("integer out of range")
    return value


def _float(value: Any, _depth: int) -> float:
    if isinstance(value, str) and value in NOT_FINITE:
        return NOT_FINITE[value]
    if type(value) not in (int, float):
        raise DecodeError(f"expected a number, got {_brief(value)}")
    if type(value) is int:
        return float(_int(value, 0))
    return float(value)


def _str(value: Any, _depth: int) -> str:
    if not isinstance(value, str):
        raise DecodeError(f"expected a string, got {_brief(value)}")
    return value


_SCALARS: dict[Any, Decoder] = {int: _int, float: _float, str: _str}


def _enum(cls: type[Enum]) -> Decoder:
    members = {member.value: member for member in cls}

    def read(value: Any, _depth: int) -> Enum:
        if not isinstance(value, str) or value not in members:
            raise DecodeError(f"expected one of {', '.join(map(str, members))}, got {_brief(value)}")
        return members[value]

    return read


def _tuple(args: tuple[Any, ...]) -> Decoder:
    variable = len(args) == 2 and args[1] is Ellipsis
    decoders = [_decoder(arg) for arg in args if arg is not Ellipsis]

    def read(value: Any, depth: int) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise DecodeError(f"expected a list, got {_brief(value)}")
        if not variable and len(value) != len(decoders):
            raise DecodeError(f"expected {len(decoders)} items, got {len(value)}")
        items = []
        each = decoders * len(value) if variable else decoders
        for i, (decoder, item) in enumerate(zip(each, value, strict=True)):
            try:
                items.append(decoder(item, depth))
            except DecodeError as error:
                raise error.inside(f"[{i}]") from None
        return tuple(items)

    return read


def _dataclass(cls: type) -> Decoder:
    fields = _fields(cls)
    specs: list[tuple[str, bool, Decoder]] = []  # filled at first use: a class may hold itself

    def read(value: Any, depth: int) -> Any:
        if not isinstance(value, dict) or value.get(TAG) != cls.__name__:
            raise DecodeError(f"expected a {cls.__name__}, got {_brief(value)}")
        if depth >= MAX_DEPTH:
            raise DecodeError(f"nested deeper than {MAX_DEPTH}")
        if not specs:
            hints = typing.get_type_hints(cls)
            specs.extend(
                (name, default is dataclasses.MISSING, _decoder(hints[name])) for name, default in fields.items()
            )
        items = {}
        for name, required, decoder in specs:
            if name in value:
                try:
                    items[name] = decoder(value[name], depth + 1)
                except DecodeError as error:
                    raise error.inside(f".{name}") from None
            elif required:
                raise DecodeError(f"{cls.__name__} lacks {name}")
        if len(items) + 1 != len(value):
            unknown = min(value.keys() - items.keys() - {TAG})
            raise DecodeError(f"{cls.__name__} has no field {_brief(unknown)}")
        return cls(**items)

    return read


def _union(args: tuple[Any, ...]) -> Decoder:
    """Members differ by JSON type: null, scalars, and dataclasses told apart by their tag."""
    members: list[Any] = [arg for arg in args if dataclasses.is_dataclass(arg)]
    classes = {member.__name__: _decoder(member) for member in members}
    scalars = {arg: _decoder(arg) for arg in args if arg in _SCALARS}
    nullable = type(None) in args
    expected = " or ".join(["null"] * nullable + [t.__name__ for t in scalars] + list(classes))

    def read(value: Any, depth: int) -> Any:
        if value is None and nullable:
            return None
        if isinstance(value, dict) and isinstance(name := value.get(TAG), str) and name in classes:
            return classes[name](value, depth)
        if type(value) in scalars:
            return scalars[type(value)](value, depth)
        raise DecodeError(f"expected {expected}, got {_brief(value)}")

    return read


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object {TAG} {_brief(value.get(TAG))}"
    if isinstance(value, list):
        return "a list"
    return ascii(value)[:40]
