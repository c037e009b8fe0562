"""Reads the text form of the IR, as defined by `grammar.lark` beside this file.

The grammar is LALR(1) and ops are built while the text is read, in linear time and without recursion. An op is known
only if the module that declares its dialect (`compiler.dialects.*`) has been imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput, UnexpectedToken

from compiler.ir.core import (
    UNKNOWN,
    Attr,
    Block,
    DsdType,
    IRError,
    Loc,
    Op,
    Region,
    StreamType,
    Symbol,
    TensorType,
    Type,
    Value,
    symbols_in,
)
from compiler.ir.defs import REGISTRY, resource_def
from compiler.ir.printer import unique_hints
from runtime.errors import InputError

GRAMMAR = Path(__file__).with_name("grammar.lark")
MAX_NESTING = 64  # regions, lists and dictionaries inside one another
_CODE = "bad-ir-text"

# What the grammar's terminals are called in messages; the others are quoted as they stand in the text.
_WORDS = {
    "VALUE": "a value (%name)",
    "OP_NAME": "an op (dialect.name)",
    "NAME": "a name",
    "INTEGER": "an integer",
    "FLOAT": "a float",
    "STRING": "a string",
    "SYMBOL": "a symbol (@name)",
    "TYPE": "a type (tensor<..>, stream<..> or dsd)",
    "LOCATION": 'loc("..")',
    "$END": "the end of the text",
}
_ATTRIBUTE_STARTS = {"TRUE", "FALSE", "INTEGER", "FLOAT", "STRING", "SYMBOL", "TYPE", "LSQB", "LBRACE"}
_SHOWN = 120  # characters of a source line in a message


def parse_module(text: str, *, filename: str = "<text>", lines: dict[Op, int] | None = None) -> Op:
    """The module written in `text`; `lines`, if given, is told the line of every op.

    Every op is checked against its declaration. Whether symbols resolve is for `compiler.ir.verifier` to say.
    Raises InputError with file, line and column for text that is not IR.
    """
    lark, builder, lock = _reader()
    with lock:
        builder.reset()
        try:
            module: Op = lark.parse(text)
            builder.resolve_hints(module)
            builder.check_declarations()
            if lines is not None:
                lines.update((op, token.line or 1) for op, token in builder.ops)
        except UnexpectedInput as error:
            raise _syntax_error(text, filename, error, lark) from None
        except _BadText as error:
            raise _error(text, filename, error.token.line or 1, error.token.column or 1, error.message) from None
        finally:
            builder.reset()
    if module.name != "builtin.module":
        raise _error(text, filename, 1, 1, f"the outermost op is {module.name}, not builtin.module")
    return module


def parse_file(path: Path) -> Op:
    """The module in a `.wir` file. Raises InputError if it cannot be read or is not IR."""
    return parse_module(read_text(path), filename=str(path))


def read_text(path: Path) -> str:
    """The text of a `.wir` file. Raises InputError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", code="cannot-read", where=str(path)) from None
    except UnicodeDecodeError:
        raise InputError("not a text file", code=_CODE, where=str(path), hint="expected IR text (.wir)") from None


@cache
def _reader() -> tuple[Lark, _Builder, Lock]:
    """The parser, the builder its rules call, and the lock that keeps two threads from sharing them."""
    builder = _Builder()
    grammar = GRAMMAR.read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", transformer=builder, maybe_placeholders=True), builder, Lock()


class _BadText(Exception):
    """Text of the right syntax that means nothing."""

    def __init__(self, token: Token, message: str) -> None:
        super().__init__(message)
        self.token = token
        self.message = message


class _Builder(Transformer):  # type: ignore[misc]
    """Builds ops as the grammar's rules complete. A rule's method gets the results of the rule's parts."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        self.values: dict[str, Value] = {}  # visible now, by name
        self.scopes: list[list[str]] = [[]]  # per open region: the names it defined
        self.nesting = 0
        self.types: dict[str, Type] = {}
        self.ops: list[tuple[Op, Token]] = []

    def check_declarations(self) -> None:
        """Hold every op against its declaration, now that the module is whole."""
        for op, token in self.ops:
            try:
                REGISTRY[op.name].check(op)
            except IRError as error:
                raise _BadText(token, str(error)) from None

    def resolve_hints(self, module: Op) -> None:
        """Make symbols that are a resource's hint its name, now that all names are known."""
        hints = unique_hints(module)
        for op, _ in self.ops:
            if isinstance(name := op.attrs.get("sym_name"), str):
                hints.pop(name, None)
        for op, _ in self.ops:
            if any(isinstance(symbol, _Unquoted) for value in op.attrs.values() for symbol in symbols_in(value)):
                op.attrs = {key: _resolved(value, hints) for key, value in op.attrs.items()}

    # Rules. An optional part that is absent is None.

    def start(self, parts: list[Any]) -> Op:
        module: Op = parts[0]
        resources: list[Op] = parts[1] or []
        if resources and module.regions:
            for op in resources:
                op.parent = module.body
            module.body.ops[:0] = resources
        return module

    def resources(self, parts: list[Region]) -> list[Op]:
        ops = parts[0].block.ops
        for op, token in self.ops[-len(ops) :] if ops else []:
            if op.name != resource_def.name:
                raise _BadText(token, f"{token} is no {resource_def.name}")
        return ops

    def op(self, parts: list[Any]) -> Op:
        results, name, symbol, operands, attrs, types, loc, *regions = parts
        declaration = REGISTRY.get(str(name))
        if declaration is None:
            raise _BadText(name, _unknown_op(str(name)))
        if len(results or ()) != len(types or ()):
            raise _BadText(name, f"{name} defines {len(results or ())} values but has {len(types or ())} result types")
        if symbol is not None:
            if "sym_name" in (attrs or {}):
                raise _BadText(symbol, "attribute 'sym_name' is given twice")
            attrs = {"sym_name": _symbol_name(symbol), **(attrs or {})}
        op = Op(
            declaration.name,
            [self.value(token) for token in operands or ()],
            types or (),
            {**declaration.implied_attrs, **(attrs or {})},
            regions,
            loc or UNKNOWN,
        )
        for token, value in zip(results or (), op.results, strict=True):
            self.define(token, value)
        self.ops.append((op, name))
        return op

    def results(self, parts: list[Token]) -> list[Token]:
        return parts

    def operands(self, parts: list[Token]) -> list[Token]:
        return parts

    def result_types(self, parts: list[Type]) -> list[Type]:
        return parts

    def region(self, parts: list[Any]) -> Region:
        _, block, *ops = parts
        block = block or Block()
        for op in ops:
            block.append(op)
        self.nesting -= 1
        for name in self.scopes.pop():
            del self.values[name]
        return Region(block)

    def region_open(self, parts: list[Token]) -> None:
        self.scopes.append([])
        self.nest(parts)

    def block_arguments(self, parts: list[tuple[Token, Type]]) -> Block:
        block = Block()
        for token, type in parts:
            self.define(token, block.add_arg(type))
        return block

    def block_argument(self, parts: list[Any]) -> tuple[Token, Type]:
        token, type = parts
        return token, type

    def attributes(self, parts: list[tuple[Token, str, Attr]]) -> dict[str, Attr]:
        attrs = {key: value for _, key, value in parts}
        if len(attrs) < len(parts):
            raise _repeated(parts)
        return attrs

    def attribute(self, parts: list[Any]) -> tuple[Token, str, Attr]:
        token, value = parts
        return token, _unquoted(token, token) if token.type == "STRING" else str(token), value

    def string(self, parts: list[Token]) -> str:
        return _unquoted(parts[0], parts[0])

    def reference(self, parts: list[Token]) -> Symbol:
        token = parts[0]
        if token.startswith('@"'):
            return Symbol(_symbol_name(token))
        return _Unquoted(token[1:])

    def array(self, parts: list[Attr]) -> tuple[Attr, ...]:
        self.nesting -= 1
        return tuple(parts[1:])

    def dictionary(self, parts: list[Any]) -> dict[str, Attr]:
        self.nesting -= 1
        return self.attributes(parts[1:])

    def nest(self, parts: list[Token]) -> None:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise _BadText(parts[0], f"nested more than {MAX_NESTING} deep")

    array_open = nest
    dictionary_open = nest

    # Terminals that are converted as they are read. The others stay tokens, which know their place in the text.

    def TRUE(self, _: Token) -> bool:
        return True

    def FALSE(self, _: Token) -> bool:
        return False

    def INTEGER(self, token: Token) -> int:
        return _integer(token, token)

    def FLOAT(self, token: Token) -> float:
        return float(token)

    def TYPE(self, token: Token) -> Type:
        text = str(token)
        type = self.types.get(text)
        if type is None:
            type = self.types[text] = _type(token)
        return type

    def LOCATION(self, token: Token) -> Loc:
        try:
            return Loc(tuple(json.loads(f"[{token[4:-1]}]")))
        except ValueError:
            raise _BadText(token, "a string here has an escape that JSON does not have") from None

    # Values.

    def value(self, token: Token) -> Value:
        value = self.values.get(str(token))
        if value is None:
            raise _BadText(token, f"{token} is not defined here")
        return value

    def define(self, token: Token, value: Value) -> None:
        name = str(token)
        if name in self.values:
            raise _BadText(token, f"{name} is already defined")
        self.values[name] = value
        self.scopes[-1].append(name)


class _Unquoted(Symbol):
    """A symbol that may be a resource's hint, until `resolve_hints`."""


def _resolved(value: Attr, hints: Mapping[str, str]) -> Attr:
    """`value` with plain symbols only."""
    if isinstance(value, _Unquoted):
        return Symbol(hints.get(value.name, value.name))
    if isinstance(value, tuple):
        return tuple(_resolved(item, hints) for item in value)
    if isinstance(value, Mapping):
        return {key: _resolved(item, hints) for key, item in value.items()}
    return value


def _symbol_name(token: Token) -> str:
    name = token[1:]
    return _unquoted(name, token) if name.startswith('"') else name


_TYPE_PART = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*"|\w+)(?: x |, block |>)')


def _type(token: Token) -> Type:
    """The type a TYPE token spells. The grammar has checked its form."""
    name, _, inside = token.partition("<")
    if name == "dsd":
        return DsdType()
    *dims, last = _TYPE_PART.findall(inside)
    try:
        if name == "tensor":
            return TensorType(tuple(_dimension(dim, token) for dim in dims), last)
        if len(dims) == 1:
            return StreamType(_integer(dims[0], token), 0, last)
        features, dtype = dims
        return StreamType(_integer(features, token), _integer(last, token), dtype)
    except IRError as error:
        raise _BadText(token, str(error)) from None


def _dimension(text: str, token: Token) -> int | str:
    if text.startswith('"'):
        return _unquoted(text, token)
    return _integer(text, token) if text[0].isdigit() else text


def _integer(text: str, token: Token) -> int:
    try:
        return int(text)
    except ValueError:  # Python refuses to read thousands of digits
        raise _BadText(token, f"a number of {len(text)} digits is too long") from None


def _unquoted(text: str, token: Token) -> str:
    try:
        value: str = json.loads(text)
    except ValueError:
        raise _BadText(token, "this string has a control character or an escape that JSON does not have") from None
    return value


def _repeated(parts: list[tuple[Token, str, Attr]]) -> _BadText:
    seen: set[str] = set()
    for token, key, _ in parts:
        if key in seen:
            return _BadText(token, f"attribute {key!r} is given twice")
        seen.add(key)
    raise AssertionError("no attribute is given twice")


def _unknown_op(name: str) -> str:
    dialect = name.partition(".")[0]
    known = sorted(other for other in REGISTRY if other.startswith(f"{dialect}."))
    if known:
        return f"unknown op {name}; {dialect} has: {', '.join(known)}"
    dialects = sorted({other.partition(".")[0] for other in REGISTRY})
    return f"unknown op {name}; the dialects are: {', '.join(dialects)}"


# Messages.


def _syntax_error(text: str, filename: str, error: UnexpectedInput, lark: Lark) -> InputError:
    line, column = error.line, error.column
    found = repr(_cut(str(error.token))) if isinstance(error, UnexpectedToken) else repr(error.char)
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        found = _WORDS["$END"]
        lines = text.rstrip().split("\n")
        line, column = len(lines), len(lines[-1]) + 1
    expected = set(error.interactive_parser.accepts())
    literals = {terminal.name: terminal.pattern.value for terminal in lark.terminals}
    words = {_WORDS.get(name) or f"'{literals[name]}'" for name in expected}
    if expected >= _ATTRIBUTE_STARTS:
        words = {"an attribute's value"} | {f"'{literals[name]}'" for name in expected - _ATTRIBUTE_STARTS}
    message = f"found {found}, expected {' or '.join(sorted(words))}"
    return _error(text, filename, line, column, message)


def _error(text: str, filename: str, line: int, column: int, message: str) -> InputError:
    """An InputError that shows the source line with a caret under `column` (both counted from 1)."""
    source = text.split("\n")[line - 1]
    start = max(0, column - 1 - _SHOWN // 2)
    shown = "".join(char if char.isprintable() else " " for char in source[start : start + _SHOWN])
    caret = " " * (column - 1 - start)
    return InputError(f"{message}\n  {shown}\n  {caret}^", code=_CODE, where=f"{filename}:{line}:{column}")


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
