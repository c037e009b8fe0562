"""Writes IR as text, in one plain form for every op:

    %3 = graph.matmul(%1, %2) {transpose_b = true} : tensor<batch x seq x 768 x f32> loc("/h.0/attn/MatMul")
    %results = name(%operands) {attributes} : result types loc("ONNX node names") { region }

What carries no information is left out: empty parentheses and braces, unknown locations, and an attribute that equals
its declared default. Attributes come in the order of their declaration. The text is pure ASCII; `grammar.lark` beside
this file defines it, and `compiler.ir.parser` reads it back to an equal module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compiler.ir.core import Attr, IRError, Op, Region, Symbol, Type, Value, identifier, quoted, same_attr
from compiler.ir.defs import REGISTRY

INDENT = "  "


def print_module(op: Op, *, locations: bool = True) -> str:
    """The text of `op` and everything in it. Raises IRError for an attribute of a kind the IR does not have.

    A module that breaks other rules is printed as well as it can be: an undeclared op in the same form, and an operand
    that is not defined before its use as `%?`.
    """
    return "".join(_Printer(locations).lines(op, ""))


def attr_text(value: Attr) -> str:
    """One attribute value as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Symbol):
        return f"@{identifier(value.name)}"
    if isinstance(value, Type):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(attr_text, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{identifier(key)} = {attr_text(item)}' for key, item in value.items())}}}"
    raise IRError(f"{type(value).__name__} is not a kind of attribute")


class _Printer:
    """Numbers the values of one module in text order."""

    def __init__(self, locations: bool) -> None:
        self.locations = locations
        self.names: dict[Value, str] = {}

    def lines(self, op: Op, indent: str) -> Iterator[str]:
        header = self.header(op)
        results = self.define(op.results)
        yield f"{indent}{results} = {header}" if results else f"{indent}{header}"
        for region in op.regions:
            yield from self.region(region, indent)
        yield "\n"

    def header(self, op: Op) -> str:
        parts = [op.name]
        if op.operands:
            parts.append(f"({', '.join(self.names.get(value, '%?') for value in op.operands)})")
        if attrs := [f"{identifier(key)} = {_printed(op, key)}" for key in _printed_keys(op)]:
            parts.append(f" {{{', '.join(attrs)}}}")
        if op.results:
            parts.append(f" : {', '.join(str(value.type) for value in op.results)}")
        if self.locations and op.loc.names:
            parts.append(f" loc({', '.join(map(quoted, op.loc.names))})")
        return "".join(parts)

    def region(self, region: Region, indent: str) -> Iterator[str]:
        self.define(region.block.args)
        args = ", ".join(f"{self.names[value]}: {value.type}" for value in region.block.args)
        yield f" {{ ({args})\n" if args else " {\n"
        for op in region.block.ops:
            yield from self.lines(op, indent + INDENT)
        yield f"{indent}}}"

    def define(self, values: list[Value]) -> str:
        """Name new values; the names, joined."""
        for value in values:
            self.names[value] = f"%{len(self.names)}"
        return ", ".join(self.names[value] for value in values)


def _printed_keys(op: Op) -> list[str]:
    """The attributes worth printing: declared ones in the order of their declaration, then others by name."""
    declaration = REGISTRY.get(op.name)
    if declaration is None:
        return sorted(op.attrs)
    keys = [key for key in declaration.attrs if key in op.attrs]
    keys += sorted(op.attrs.keys() - declaration.attrs.keys())
    implied = declaration.implied_attrs
    return [key for key in keys if key not in implied or not same_attr(op.attrs[key], implied[key])]


def _printed(op: Op, key: str) -> str:
    try:
        return attr_text(op.attrs[key])
    except IRError as error:
        raise IRError(f"{op.name} at {op.loc}: attribute {key!r}: {error}") from None
