"""What tells two modules apart, whatever their values are called and in whatever order attributes stand.

Ops of two blocks that are equal by themselves are paired first, in order (`compiler.ir.align`); what is left between
these is paired if it is the same kind of op and has the same symbol. Operands are compared as data flow: they agree if
the values' definitions were paired. So an op inserted in the middle is one difference, and not all ops behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from compiler.ir.align import aligned
from compiler.ir.core import Attr, Block, Op, Value, identifier, quoted, same_attr
from compiler.ir.printer import Printer, SymbolNames, attr_text, symbol_text

Kind = Literal["changed", "removed", "added"]
_LINES = 8  # of an op's text
_SHOWN = 300  # characters of an attribute's value


@dataclass(frozen=True)
class Difference:
    """One op of the first module (`before`), of the second (`after`), or of both, with what is different in it.

    `where` names the ops around it, outermost first; `details` is empty for an op that only one module has.
    """

    kind: Kind
    name: str  # of the op
    where: str
    before: str
    after: str
    details: tuple[str, ...] = ()

    def text(self) -> str:
        """The op's text in both modules, cut short if it is long, and what differs."""
        lines = [*_clipped("- ", self.before), *_clipped("+ ", self.after), *(f"  {detail}" for detail in self.details)]
        return "\n".join([f"{self.kind} in {self.where}:", *lines])


@dataclass
class Comparison:
    """All differences in text order, and how many ops of each kind the modules have."""

    differences: list[Difference] = field(default_factory=list)
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)

    @property
    def same(self) -> bool:
        return not self.differences

    def count(self, kind: Kind, name: str | None = None) -> int:
        """How many differences there are of this kind, in ops called `name` or in all."""
        return sum(d.kind == kind and name in (None, d.name) for d in self.differences)


def compare(a: Op, b: Op, *, locations: bool = True, ignore: Collection[str] = ()) -> Comparison:
    """Compare two modules, with or without `locations`, passing over the attributes called one of `ignore`.

    Without `ignore`, two valid modules have no difference exactly if `compiler.ir.core.structurally_equal` says so.
    """
    comparer = _Comparer(_Texts.of(a), _Texts.of(b), locations, frozenset(ignore))
    comparer.pair(a, b, "")
    comparer.result.before.update(op.name for op in a.walk())
    comparer.result.after.update(op.name for op in b.walk())
    return comparer.result


class _Texts(Printer):
    """Remembers the text of every op, without its regions."""

    def __init__(self, symbols: SymbolNames) -> None:
        super().__init__(symbols)
        self.texts: dict[Op, str] = {}

    @classmethod
    def of(cls, module: Op) -> _Texts:
        texts = cls(SymbolNames.of(module))
        for _ in texts.lines(module, ""):
            pass
        return texts

    def header(self, op: Op, indent: str, head: list[str], attrs: dict[str, str], tail: list[str]) -> Iterator[str]:
        self.texts[op] = "".join(super().header(op, "", head, attrs, tail))
        yield ""

    def shown(self, attrs: Mapping[str, Attr], key: str) -> str:
        """An attribute, perhaps cut short."""
        text = attr_text(attrs[key], self.symbols) if key in attrs else "(none)"
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


class _Comparer:
    def __init__(self, before: _Texts, after: _Texts, locations: bool, ignore: frozenset[str]) -> None:
        self.before = before
        self.after = after
        self.locations = locations
        self.ignore = ignore
        self.partners: dict[Value, Value] = {}  # values of the first module and what they are in the second
        self.result = Comparison()

    def pair(self, a: Op, b: Op, where: str) -> None:
        """Compare two ops that stand for each other, and what is in them."""
        here = f"{where} / {_called(a)}" if where else _called(a)
        details = list(self.details(a, b))
        if details:
            self.note("changed", a, b, where or "the file", details)
        self.partners.update(zip(a.results, b.results, strict=False))
        for p, q in zip(a.regions, b.regions, strict=False):
            self.blocks(p.block, q.block, here)

    def blocks(self, p: Block, q: Block, where: str) -> None:
        self.partners.update(zip(p.args, q.args, strict=False))
        matched = aligned([self.key(op) for op in p.ops], [self.key(op) for op in q.ops])
        i = j = 0
        for next_i, next_j in [*matched, (len(p.ops), len(q.ops))]:
            self.gap(p.ops[i:next_i], q.ops[j:next_j], where)
            if next_i < len(p.ops):
                self.pair(p.ops[next_i], q.ops[next_j], where)
            i, j = next_i + 1, next_j + 1

    def gap(self, a: list[Op], b: list[Op], where: str) -> None:
        """Ops none of which is as it was: changed, removed or added."""
        matched = aligned([_called(op) for op in a], [_called(op) for op in b])
        i = j = 0
        for next_i, next_j in [*matched, (len(a), len(b))]:
            for op in a[i:next_i]:
                self.note("removed", op, None, where)
            for op in b[j:next_j]:
                self.note("added", None, op, where)
            if next_i < len(a):
                self.pair(a[next_i], b[next_j], where)
            i, j = next_i + 1, next_j + 1

    def note(self, kind: Kind, a: Op | None, b: Op | None, where: str, details: list[str] | None = None) -> None:
        op = a if a is not None else b
        assert op is not None
        before = self.before.texts[a] if a is not None else ""
        after = self.after.texts[b] if b is not None else ""
        self.result.differences.append(Difference(kind, op.name, where, before, after, tuple(details or ())))

    def attrs(self, op: Op) -> dict[str, Attr]:
        return {key: value for key, value in op.attrs.items() if key not in self.ignore}

    def key(self, op: Op) -> str:
        """Equal for two ops that are equal by themselves: all but the values they read and what is in their regions."""
        types = " ".join(str(value.type) for value in op.results)
        args = " ".join(str(arg.type) for region in op.regions for arg in region.block.args)
        location = repr(op.loc.names) if self.locations else ""
        counts = f"{len(op.operands)} {len(op.regions)}"
        return "\n".join((op.name, canonical(self.attrs(op)), types, args, location, counts))

    def details(self, a: Op, b: Op) -> Iterator[str]:
        if a.name != b.name:
            yield f"op: {a.name} -> {b.name}"
        yield from self.entries("", self.attrs(a), self.attrs(b))
        yield from _unlike("result types", [str(v.type) for v in a.results], [str(v.type) for v in b.results])
        yield from self.operands(a, b)
        for p, q in zip(a.regions, b.regions, strict=False):
            args = ([str(v.type) for v in p.block.args], [str(v.type) for v in q.block.args])
            yield from _unlike("argument types", *args)
        if len(a.regions) != len(b.regions):
            yield f"regions: {len(a.regions)} -> {len(b.regions)}"
        if self.locations:
            yield from _unlike("loc", list(map(quoted, a.loc.names)), list(map(quoted, b.loc.names)))

    def entries(self, path: str, a: Mapping[str, Attr], b: Mapping[str, Attr]) -> Iterator[str]:
        """Attributes that differ, entry by entry if they are dictionaries."""
        for key in [*a, *(key for key in b if key not in a)]:
            here, before, after = f"{path}{identifier(key)}", a.get(key), b.get(key)
            if isinstance(before, Mapping) and isinstance(after, Mapping):
                yield from self.entries(f"{here}.", before, after)
            elif key not in a or key not in b or not same_attr(a[key], b[key]):
                yield f"{here}: {self.before.shown(a, key)} -> {self.after.shown(b, key)}"

    def operands(self, a: Op, b: Op) -> Iterator[str]:
        if len(a.operands) != len(b.operands):
            yield f"operands: {len(a.operands)} -> {len(b.operands)}"
            return
        for index, (x, y) in enumerate(zip(a.operands, b.operands, strict=True)):
            if x.type != y.type:
                yield f"operand {index} has type: {x.type} -> {y.type}"
            if self.partners.get(x) is not y:
                yield f"operand {index} is another: {self.before.names.get(x, '%?')} -> {self.after.names.get(y, '%?')}"


def _clipped(sign: str, text: str) -> list[str]:
    lines = text.splitlines()
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], "    ..."]
    return [sign + line for line in lines]


def _called(op: Op) -> str:
    """The op and its symbol."""
    name = op.attrs.get("sym_name")
    return f"{op.name} {symbol_text(name)}" if isinstance(name, str) else op.name


def _unlike(what: str, before: list[str], after: list[str]) -> Iterator[str]:
    if before != after:
        yield f"{what}: {', '.join(before) or '(none)'} -> {', '.join(after) or '(none)'}"


def canonical(value: Attr) -> str:
    """The same text for attributes that are the same as `same_attr` says, and for no others."""
    if isinstance(value, tuple):
        return f"[{','.join(map(canonical, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{identifier(key)}={canonical(value[key])}' for key in sorted(value))}}}"
    return attr_text(value)
