"""The reference page of the IR's text, made from the declarations of its ops, so that it says what is true.

`compiler/dialects/SYNTAX.md` is this page; `tests/compiler/ir/test_syntax.py` holds it against the declarations.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

import compiler.dialects
from compiler.ir.core import DTYPES, Symbol, Type
from compiler.ir.defs import REGISTRY, Attribute, Kind, OpDef
from compiler.ir.printer import attr_text

_KINDS: dict[type, str] = {
    bool: "`true` or `false`",
    int: "integer",
    float: "float",
    str: "string",
    tuple: "list",
    Mapping: "dictionary",
    Symbol: "`@symbol`",
    Type: "type",
}

_INTRODUCTION = """\
# The text of the IR

Made by `wsec opt --syntax` from the declarations of the ops; do not edit. The grammar is `compiler/ir/grammar.lark`.

```
EXAMPLE```

* An op is `%results = dialect.name @symbol (%operands) {attributes} : result types loc("ONNX nodes") {region}`.
  What an op does not have is left out, and so is an attribute that has its default. A symbol is the attribute
  `sym_name`. Line ends and indentation mean nothing; `//` begins a comment.
* A value may be read behind its definition, up to the end of the region that defines it. What values are called means
  nothing.
* Attributes: `true`, `3`, `-1.5e-05`, `"string"` with JSON's escapes, `[list, of, them]`, `{dictionary = 1}`, types,
  and `@symbol`: the op with this symbol. A symbol without quotes that no op has means the resource with this `hint`.
* Types: `tensor<batch x 4 x f32>` with integers or names as dimensions, `stream<768 x f32, block 16>` (tokens of 768
  elements in blocks of 16 on neighbouring lanes; no block: not chosen yet), `dsd`. Elements:
  ELEMENTS.
* The resources with which a module begins stand behind it, in `resources { ... }`.
"""

_EXAMPLE = """\
builtin.module @mlp {phase = "import"} {
  %x = graph.input {name = "x"} : tensor<batch x 4 x f32>
  %fc.weight = graph.constant {value = @fc.weight} : tensor<4 x 8 x f32>
  %0 = graph.matmul(%x, %fc.weight) : tensor<batch x 8 x f32> loc("/fc/MatMul")
  graph.output(%0) {name = "y"}
}
resources {
  builtin.resource @w0123456789ab {shape = [4, 8], dtype = "f32", sha256 = "...", hint = "fc.weight"}
}
"""

_BUILTIN = "`builtin`: the module, and the constants it names."


def syntax_page() -> str:
    """The page, in Markdown."""
    dialects = [found.name for found in pkgutil.iter_modules(compiler.dialects.__path__)]
    # In the order of the lowering; a new dialect comes last.
    order = ("graph", "flow", "fabric", "core")
    dialects.sort(key=lambda name: (order.index(name) if name in order else len(order), name))
    elements = ", ".join(f"`{dtype}`" for dtype in DTYPES)
    introduction = _INTRODUCTION.replace("EXAMPLE", _EXAMPLE).replace("ELEMENTS", elements)
    parts = [introduction, _dialect("builtin", _BUILTIN)]
    for name in dialects:
        module = importlib.import_module(f"compiler.dialects.{name}")
        parts.append(_dialect(name, module.__doc__ or ""))
    return "\n".join(parts)


def _dialect(name: str, about: str) -> str:
    ops = [definition for definition in REGISTRY.values() if definition.name.partition(".")[0] == name]
    return "\n".join([f"## {name}\n", about.strip(), *(line for op in ops for line in _op(op))]) + "\n"


def _op(op: OpDef) -> Iterator[str]:
    yield f"\n### `{op.name}`\n\n{op.summary}\n\n```\n{_form(op)}\n```"
    rows = [_row(name, attribute) for name, attribute in op.attrs.items() if name != "sym_name"]
    if rows:
        yield "\n| attribute | is | if left out | |\n| --- | --- | --- | --- |"
        yield from rows


def _form(op: OpDef) -> str:
    """The op as it is written, with placeholders."""
    results = ", ".join(f"%{name.removesuffix('*')}{', ...' * name.endswith('*')}" for name in op.results)
    operands = ", ".join(f"%{name.removesuffix('*')}{', ...' * name.endswith('*')}" for name in op.operands)
    parts = [f"{results} = {op.name}" if results else op.name]
    if "sym_name" in op.attrs:
        parts.append(" [@name]" if op.attrs["sym_name"].optional else " @name")
    if operands:
        parts.append(f"{' ' * ('sym_name' in op.attrs)}({operands})")
    if op.attrs.keys() - {"sym_name"}:
        parts.append(" {...}")
    if results:
        parts.append(" : type" + ", ..." * (len(op.results) > 1 or op.results[0].endswith("*")))
    return "".join([*parts, " { ... }" * op.regions])


def _row(name: str, attribute: Attribute) -> str:
    default = "must be there" if attribute.default is None else f"`{attr_text(attribute.default)}`"
    words = ", ".join(f"`{choice}`" for choice in attribute.choices)
    notes = "; ".join(filter(None, (attribute.doc, f"one of {words}" if words else "")))
    return f"| `{name}` | {_kind(attribute.kind)} | {'-' if attribute.optional else default} | {notes} |"


def _kind(kind: Kind) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join(_KINDS[each] for each in kinds)
