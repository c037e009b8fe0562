"""Symbolic dimensions: an int, a name (`batch`), or a sum of products of them (`batch*seq`, `seq + 1`)."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

Dim = int | str


def evaluate(dim: Dim, bindings: Mapping[str, int]) -> int:
    """The size of `dim` where names have the sizes in `bindings`. Raises KeyError for a name without one."""
    if isinstance(dim, int):
        return dim
    return sum(prod(_atom(factor, bindings) for factor in term.split("*")) for term in dim.split("+"))


def _atom(text: str, bindings: Mapping[str, int]) -> int:
    text = text.strip()
    return int(text) if text.isdecimal() else bindings[text]
