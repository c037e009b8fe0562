"""Typed options written as text, `max-cores=4096 windows=3,5 solver="CP SAT"`, for the fields of a dataclass.

A field's kind is its annotation: bool, int, float, str, a tuple of these (items separated by commas), or `kind | None`.
A string needs quotes (JSON's) only if it holds other characters than letters, digits and `_ . / : + -`. A field's name
is written with `-` for `_`.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

QUOTED = r'"(?:[^"\\]|\\.)*"'
_ITEM = re.compile(rf"({QUOTED}|[^,\"]*)(,|\Z)")
_BARE = re.compile(r"[\w./:+-]+", re.ASCII)
_NONE = "none"
_BOOLS = {"true": True, "false": False}


def option_kinds(cls: type) -> dict[str, Any]:
    """Field name -> kind. Raises TypeError for a field whose kind cannot be written as text."""
    hints = typing.get_type_hints(cls)
    kinds = {f.name: hints[f.name] for f in fields(cls)}
    for key, kind in kinds.items():
        if not _READERS.keys() >= set(_scalars(kind)):
            raise TypeError(f"option {key} of {cls.__name__} is a {kind}, which cannot be written as text")
    return kinds


def option_name(field_name: str) -> str:
    """The name people write."""
    return field_name.replace("_", "-")


def option_text(value: Any) -> str:
    """The text that `read_option` reads as `value`."""
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(map(option_text, value))
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) and value != _NONE else json.dumps(value)
    return repr(value)


def read_option(kind: Any, text: str) -> Any:
    """The value `text` spells. Raises ValueError."""
    if text == _NONE and _is_optional(kind):
        return None
    kind = _required(kind)
    if typing.get_origin(kind) is not tuple:
        return _READERS[kind](text)
    items = list(_split(text)) if text else []
    each = typing.get_args(kind)
    each = each[:1] * len(items) if each[-1] is Ellipsis else each
    return tuple(_READERS[scalar](item) for scalar, item in zip(each, items, strict=True))


def kind_words(kind: Any) -> str:
    """What a value of this kind is, in words."""
    words = ",".join(_KIND_WORDS[scalar] for scalar in _scalars(kind))
    if Ellipsis in typing.get_args(_required(kind)):
        words = f"{words},.."
    return f"{words} or {_NONE}" if _is_optional(kind) else words


def _read_bool(text: str) -> bool:
    if text not in _BOOLS:
        raise ValueError(text)
    return _BOOLS[text]


def _read_str(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text


_READERS: dict[Any, Callable[[str], Any]] = {bool: _read_bool, int: int, float: float, str: _read_str}
_KIND_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}


def _split(text: str) -> Iterator[str]:
    """The items of a list; a comma in a quoted string is not the end of an item."""
    for match in _ITEM.finditer(text):
        yield match[1]
        if not match[2]:
            return


def _is_optional(kind: Any) -> bool:
    return type(None) in typing.get_args(kind) and typing.get_origin(kind) in (typing.Union, types.UnionType)


def _required(kind: Any) -> Any:
    """`kind` without `| None`."""
    return next(arg for arg in typing.get_args(kind) if arg is not type(None)) if _is_optional(kind) else kind


def _scalars(kind: Any) -> list[Any]:
    """What the items are: `[int]` for `int`, for `int | None` and for `tuple[int, ...]`."""
    kind = _required(kind)
    return [arg for arg in typing.get_args(kind) if arg is not Ellipsis] if typing.get_origin(kind) is tuple else [kind]
