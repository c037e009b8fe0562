"""IR for people only: runs of ops that repeat are printed once, with a note how often and for what.

A layer of a model, a lane of a stream, a row of a product: ops that differ only in names, places and the constants they
use, and work at addresses in equal steps. The rest is as `compiler.ir.printer` prints it, with the same names of
values; the text cannot be read back.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

from compiler.ir.core import Attr, Op, Symbol, Value, identifier
from compiler.ir.printer import Printer, SymbolNames, attr_text, leading_resources, symbol_text

HEAD = "// Folded for reading: this text cannot be read back. Without --fold it can.\n"
# Attributes that say where something is, or why, not what it is.
PLACES = frozenset((
    "x", "y", "orientation", "lane", "colour", "tree", "address", "rows", "cols", "offset", "reason", "sha256",
))  # fmt: skip
_DIGITS = re.compile(r"[0-9]+")
_CANDIDATES = 12  # occurrences of an op that are tried as the beginning of the next repetition
_LEAST = 2  # ops a fold must save


def folded_text(module: Op, *, locations: bool = True) -> str:
    """The text of `module` with repetitions folded, and without the resources it begins with."""
    printer = _Folder(SymbolNames.of(module), locations)
    resources = leading_resources(module)
    note = f"// and {len(resources)} resources\n" if resources else ""
    return HEAD + "".join(printer.lines(module, "", skip=len(resources))) + note


class _Folder(Printer):
    def __init__(self, symbols: SymbolNames, locations: bool) -> None:
        super().__init__(symbols, locations)
        self.kinds: dict[Op, int] = {}
        self.numbers: dict[str, int] = {}

    def body(self, ops: Iterable[Op], indent: str) -> Iterator[str]:
        ops = list(ops)
        places = {op: index for index, op in enumerate(ops)}
        same: dict[int, list[int]] = {}  # places of each kind's ops, ascending
        for op, index in places.items():
            same.setdefault(self.kind(op), []).append(index)
        start = 0
        while start < len(ops):
            period, times = self.repetition(ops, places, same[self.kind(ops[start])], start)
            if times == 1:
                yield from self.lines(ops[start], indent)
                start += 1
                continue
            first, rest = ops[start : start + period], ops[start + period : start + period * times]
            yield from self.body(first, indent) if period > 1 else self.lines(first[0], indent)
            for op in rest:
                self.define(op)
            what = f"{times - 1} more like this" if period == 1 else f"{times - 1} more of these {period} ops"
            begins, ends = self.label(first, rest[:period]), self.label(first, rest[-period:])
            yield f"{indent}// {what}: {begins}{f' .. {ends}' if times > 2 and ends != begins else ''}\n"
            start += period * times

    def repetition(
        self, ops: Sequence[Op], places: Mapping[Op, int], same: Sequence[int], start: int
    ) -> tuple[int, int]:
        """How many ops from `start` on repeat, and how often they stand there; of several ways the longest.

        same: places of the ops of the first one's kind.
        """
        best = (1, 1)
        following = bisect_right(same, start)
        for second in same[following : following + _CANDIDATES]:
            period = second - start
            if start + 2 * period > len(ops):
                break
            end = second
            while end < len(ops) and self.alike(ops, places, end, period) and _steady(ops, start, end, period):
                end += 1
            times = 1 + (end - second) // period
            if times == 2 and any("address" in op.attrs for op in ops[start:second]):
                times = 1  # one step says nothing of the next
            if times > 1 and period * (times - 1) >= _LEAST and period * times > best[0] * best[1]:
                best = (period, times)
            if end == len(ops):
                break
        return best

    def alike(self, ops: Sequence[Op], places: Mapping[Op, int], index: int, period: int) -> bool:
        """Is the op the same as the one `period` before it, reading the same or what corresponds?"""
        op, earlier = ops[index], ops[index - period]
        if self.kind(op) != self.kind(earlier):
            return False
        return all(self.correspond(x, y, places, period) for x, y in zip(op.operands, earlier.operands, strict=True))

    def correspond(self, x: Value, y: Value, places: Mapping[Op, int], period: int) -> bool:
        if x is y or x.op is None or y.op is None:
            return x is y
        if x.op in places and y.op in places:
            return x.index == y.index and places[x.op] - places[y.op] == period
        return x.op not in places and y.op not in places and self.kind(x.op) == self.kind(y.op)

    def kind(self, op: Op) -> int:
        """The same number for ops that differ only in names, places and constants."""
        if op not in self.kinds:
            types = ",".join(str(value.type) for value in op.results)
            attrs = ",".join(f"{key}={_masked(key, value)}" for key, value in sorted(op.attrs.items()))
            inner = ",".join(str(self.kind(o)) for region in op.regions for o in region.block.ops)
            text = f"{op.name}({len(op.operands)}){{{attrs}}}:{types}[{inner}]"
            self.kinds[op] = self.numbers.setdefault(text, len(self.numbers))
        return self.kinds[op]

    def label(self, first: Sequence[Op], again: Sequence[Op]) -> str:
        """What sets a repetition apart: a name it has or uses, else an attribute or a value."""
        for op, model in zip(again, first, strict=True):
            name = op.attrs.get("sym_name")
            if isinstance(name, str) and name != model.attrs.get("sym_name"):
                return symbol_text(name)
            for key, value in op.attrs.items():
                if isinstance(value, Symbol) and value != model.attrs.get(key):
                    return self.symbols.text(value.name)
        for op, model in zip(again, first, strict=True):
            for key, value in op.attrs.items():
                if value != model.attrs.get(key):
                    return f"{identifier(key)} = {attr_text(value, self.symbols)}"
        results = [self.names[value] for op in again for value in op.results]
        return results[0] if results else f"({', '.join(self.names.get(x, '%?') for x in again[0].operands)})"


def _steady(ops: Sequence[Op], start: int, index: int, period: int) -> bool:
    """Does the op's address go on in the steps of the repetitions before? Others say too much to be left out."""
    if index - 2 * period < start:
        return True
    steps = [_address(ops[index - k * period]) - _address(ops[index - (k + 1) * period]) for k in range(2)]
    return steps[0] == steps[1]


def _address(op: Op) -> int:
    address = op.attrs.get("address", 0)
    return address if isinstance(address, int) else 0


def _masked(key: str, value: Attr) -> str:
    """An attribute without what may differ between repetitions."""
    if key in PLACES:
        return "_"
    if isinstance(value, tuple):
        return f"[{','.join(_masked('', item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{k}={_masked(k, item)}' for k, item in value.items())}}}"
    if isinstance(value, Symbol):
        return "@"
    return _DIGITS.sub("#", value) if isinstance(value, str) else attr_text(value)
