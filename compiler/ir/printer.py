"""Writes IR as text, in one plain form for every op:

    %y = graph.matmul(%x, %h.0.weight) {transpose_b = true} : tensor<batch x seq x 768 x f32> loc("/h.0/MatMul")
    %results = name @sym_name (%operands) {attributes} : result types loc("ONNX node names") { region }

What carries no information is left out: empty parentheses and braces, unknown locations, and an attribute that equals
its declared default. Attributes come in the order of their declaration. Lines are at most `WIDTH` wide where that is
possible. The text is pure ASCII; `grammar.lark` beside this file defines it, and `compiler.ir.parser` reads it back to
an equal module.

Names are for readers: a value is called after what its op is declared to be `named_by` (else it has a number, counted
anew in every region), a reference to a resource says the resource's hint if no other has the same, and the resources a
module begins with stand behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from compiler.ir.core import Attr, IRError, Op, Region, Symbol, Type, Value, identifier, quoted, same_attr
from compiler.ir.defs import REGISTRY, resource_def

INDENT = "  "
WIDTH = 120
_CONTINUED = INDENT * 2  # how much further in an op goes on in its next line
_ATOM = 48  # lists and dictionaries up to this length are not broken
# A symbol that needs no quotes, and what may be the name of a value.
_BARE_SYMBOL = re.compile(r"[A-Za-z_/][A-Za-z0-9_.:/-]*")
_VALUE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def print_module(op: Op, *, locations: bool = True) -> str:
    """The text of `op` and everything in it. Raises IRError for an attribute of a kind the IR does not have.

    A module that breaks other rules is printed as well as it can be: an undeclared op in the same form, and an operand
    that is not defined before its use as `%?`.
    """
    printer = Printer(SymbolNames.of(op), locations)
    resources = leading_resources(op)
    lines = printer.lines(op, "", skip=len(resources))
    if not resources:
        return "".join(lines)
    section = (line for resource in resources for line in printer.lines(resource, INDENT))
    return "".join((*lines, "resources {\n", *section, "}\n"))


def leading_resources(module: Op) -> list[Op]:
    """The resources a module begins with: the text has them in a section of their own, behind it."""
    if module.name != "builtin.module" or len(module.regions) != 1:
        return []
    ops = module.body.ops
    count = next((i for i, op in enumerate(ops) if op.name != resource_def.name), len(ops))
    return ops[:count]


def unique_hints(module: Op) -> dict[str, str]:
    """The symbols of the resources whose hint no other resource of `module` has, by that hint."""
    hints: dict[str, list[str]] = {}
    for op in module.walk():
        name, hint = op.attrs.get("sym_name"), op.attrs.get("hint")
        if op.name == resource_def.name and isinstance(name, str) and isinstance(hint, str):
            hints.setdefault(hint, []).append(name)
    return {hint: names[0] for hint, names in hints.items() if len(names) == 1}


@dataclass(frozen=True)
class SymbolNames:
    """How symbols are written: those of resources by their hint where that can mean nothing else.

    A symbol in quotes is meant literally. One without means the op of that name, else the resource with that hint.
    """

    defined: frozenset[str] = frozenset()
    hints: Mapping[str, str] = field(default_factory=dict)  # as by unique_hints
    aliases: Mapping[str, str] = field(default_factory=dict)  # symbol -> hint

    @classmethod
    def of(cls, module: Op) -> SymbolNames:
        defined = frozenset(name for op in module.walk() if isinstance(name := op.attrs.get("sym_name"), str))
        hints = unique_hints(module)
        usable = {hint: name for hint, name in hints.items() if hint not in defined and _BARE_SYMBOL.fullmatch(hint)}
        return cls(defined, hints, {name: hint for hint, name in usable.items()})

    def text(self, name: str) -> str:
        """A reference to `name`."""
        if name in self.aliases:
            return f"@{self.aliases[name]}"
        literal = name not in self.defined and name in self.hints
        return f"@{quoted(name)}" if literal else symbol_text(name)


def symbol_text(name: str) -> str:
    """`name` as a symbol, without quotes if it needs none."""
    return f"@{name}" if _BARE_SYMBOL.fullmatch(name) else f"@{quoted(name)}"


def attr_text(value: Attr, symbols: SymbolNames | None = None) -> str:
    """One attribute value as text. Raises IRError for a kind the IR does not have."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Symbol):
        return symbols.text(value.name) if symbols else symbol_text(value.name)
    if isinstance(value, Type):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(attr_text(item, symbols) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{identifier(key)} = {attr_text(item, symbols)}' for key, item in value.items())}}}"
    raise IRError(f"{type(value).__name__} is not a kind of attribute")


class Printer:
    """Names the values of one module in text order, and lays ops out on lines."""

    def __init__(self, symbols: SymbolNames, locations: bool = True) -> None:
        self.symbols = symbols
        self.locations = locations
        self.names: dict[Value, str] = {}
        self.taken: set[str] = set()  # of the names visible here, those that are no numbers
        self.count = 0  # numbers given to values visible here

    def lines(self, op: Op, indent: str, skip: int = 0) -> Iterator[str]:
        """The text of `op`, in pieces that end where lines end; its region without the first `skip` ops."""
        operands = [self.names.get(value, "%?") for value in op.operands]
        attrs = {key: _printed(op, key, self.symbols) for key in _printed_keys(op)}
        results = self.define(op)
        name = op.attrs.get("sym_name")
        head = [f"{', '.join(results)} = {op.name}" if results else op.name]
        if isinstance(name, str):
            head[0] += f" {symbol_text(name)}{' ' if operands else ''}"
        if operands:
            head[0] += f"({', '.join(operands)})"
        tail = _kept(_joined(": ", [str(value.type) for value in op.results], ""))
        if self.locations:
            tail += _kept(_joined("loc(", [quoted(name) for name in op.loc.names], ")"))
        yield from self.header(op, indent, head, attrs, tail)
        for region in op.regions:
            yield from self.region(region, indent, skip)
        yield "\n"

    def header(self, op: Op, indent: str, head: list[str], attrs: dict[str, str], tail: list[str]) -> Iterator[str]:
        braces = _joined("{", [f"{identifier(key)} = {text}" for key, text in attrs.items()], "}")
        line = indent + " ".join(head + braces + tail)
        if len(line) <= WIDTH - len(" {") * bool(op.regions):
            yield line
        elif any(isinstance(op.attrs[key], Mapping) and len(text) > WIDTH // 2 for key, text in attrs.items()):
            yield f"{indent}{' '.join(head)} {{\n"
            yield from self.entries({key: op.attrs[key] for key in attrs}, indent + _CONTINUED)
            yield " ".join([f"{indent}}}", *tail])
        else:
            pieces = [piece for key in attrs for piece in self.pieces(f"{identifier(key)} = ", op.attrs[key])]
            yield _filled([*head, *_joined("{", pieces, "}", ""), *tail], indent, indent + _CONTINUED)

    def entries(self, values: Mapping[str, Attr], indent: str) -> Iterator[str]:
        """Attributes or entries of a dictionary, one a line or on several lines of their own."""
        for number, (key, value) in enumerate(values.items(), 1):
            end = "\n" if number == len(values) else ",\n"
            start, text = f"{indent}{identifier(key)} = ", attr_text(value, self.symbols)
            nested = isinstance(value, Mapping) and any(isinstance(item, Mapping) for item in value.values())
            if len(start) + len(text) < WIDTH:
                yield f"{start}{text}{end}"
            elif isinstance(value, Mapping) and nested:
                yield f"{start}{{\n"
                yield from self.entries(value, indent + INDENT)
                yield f"{indent}}}{end}"
            else:
                pieces = self.pieces(f"{identifier(key)} = ", value)
                pieces[-1] = pieces[-1].removesuffix(",")
                yield _filled(pieces, indent, indent + INDENT) + end

    def pieces(self, start: str, value: Attr) -> list[str]:
        """`start` and the value's text and a comma, cut where a line may end."""
        text = attr_text(value, self.symbols)
        if len(text) <= _ATOM or not isinstance(value, tuple | Mapping):
            return [f"{start}{text},"]
        if isinstance(value, tuple):
            inner = [piece for item in value for piece in self.pieces("", item)]
            return _joined(f"{start}[", inner, "],", "")
        inner = [piece for key, item in value.items() for piece in self.pieces(f"{identifier(key)} = ", item)]
        return _joined(f"{start}{{", inner, "},", "")

    def region(self, region: Region, indent: str, skip: int = 0) -> Iterator[str]:
        taken, count = set(self.taken), self.count
        for value in region.block.args:
            self.number(value)
        args = ", ".join(f"{self.names[value]}: {value.type}" for value in region.block.args)
        yield f" {{ ({args})\n" if args else " {\n"
        yield from self.body(region.block.ops[skip:], indent + INDENT)
        yield f"{indent}}}"
        self.taken, self.count = taken, count

    def body(self, ops: Iterable[Op], indent: str) -> Iterator[str]:
        """The ops of a region."""
        for op in ops:
            yield from self.lines(op, indent)

    def define(self, op: Op) -> list[str]:
        """Name the results of `op`; the names."""
        name = self.suggestion(op)
        if len(op.results) == 1 and name and name not in self.taken:
            self.taken.add(name)
            self.names[op.results[0]] = f"%{name}"
        else:
            for value in op.results:
                self.number(value)
        return [self.names[value] for value in op.results]

    def number(self, value: Value) -> None:
        self.names[value] = f"%{self.count}"
        self.count += 1

    def suggestion(self, op: Op) -> str:
        """What the only result of `op` could be called; empty if nothing suggests itself."""
        declaration = REGISTRY.get(op.name)
        value = op.attrs.get(declaration.named_by) if declaration else None
        if isinstance(value, Symbol):
            value = self.symbols.aliases.get(value.name)
        return value if isinstance(value, str) and _VALUE_NAME.fullmatch(value) else ""


def _joined(start: str, items: list[str], end: str, separator: str = ",") -> list[str]:
    """`items` with a comma behind each but the last, all between `start` and `end`; nothing if there are none."""
    if not items:
        return []
    pieces = [f"{item}{separator}" for item in items[:-1]] + [items[-1].removesuffix(",") + end]
    return [start + pieces[0], *pieces[1:]]


def _kept(pieces: list[str]) -> list[str]:
    """`pieces` in one, if that is not too long."""
    whole = " ".join(pieces)
    return [whole] if 0 < len(whole) <= WIDTH * 3 // 4 else pieces


def _filled(pieces: list[str], indent: str, continued: str) -> str:
    """`pieces` with spaces between, in lines of at most WIDTH where that is possible."""
    lines: list[str] = []
    line = indent + pieces[0]
    for piece in pieces[1:]:
        if len(line) + 1 + len(piece) > WIDTH - 2:  # room for a brace
            lines.append(line)
            line = continued + piece
        else:
            line += f" {piece}"
    return "\n".join([*lines, line])


def _printed_keys(op: Op) -> list[str]:
    """The attributes worth printing in braces: declared ones in the order of their declaration, then others by name."""
    declaration = REGISTRY.get(op.name)
    given = op.attrs.keys() - {"sym_name"} if isinstance(op.attrs.get("sym_name"), str) else op.attrs.keys()
    if declaration is None:
        return sorted(given)
    keys = [key for key in declaration.attrs if key in given]
    keys += sorted(given - declaration.attrs.keys())
    implied = declaration.implied_attrs
    return [key for key in keys if key not in implied or not same_attr(op.attrs[key], implied[key])]


def _printed(op: Op, key: str, symbols: SymbolNames) -> str:
    try:
        return attr_text(op.attrs[key], symbols)
    except IRError as error:
        raise IRError(f"{op.name} at {op.loc}: attribute {key!r}: {error}") from None
