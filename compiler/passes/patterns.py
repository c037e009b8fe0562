"""Small words the graph passes are written in: look up a producer or a constant, build an op in front of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.dialects import graph
from compiler.dialects.graph import tensor_type
from compiler.ir.core import Attr, Loc, Op, Symbol, TensorType, Type, Value
from compiler.ir.defs import OpDef
from compiler.ir.rewrite import Pattern, Rewriter, rewrite
from compiler.resources import ResourceStore

Array = NDArray[Any]
# Constants up to this many elements may be read and folded while matching; weights are larger and stay untouched.
SMALL = 1 << 16
FLOATS = ("f32", "f16")


@dataclass(frozen=True)
class Site:
    """Where a rule works: the module, the constants it may read, and the rewriter that takes its new ops."""

    module: Op
    resources: ResourceStore
    rewriter: Rewriter

    def build(
        self, anchor: Op, definition: OpDef, *operands: Value, type: Type, loc: Loc | None = None, **attrs: Attr
    ) -> Value:
        """The result of a new op before `anchor`, at `anchor`'s location unless `loc` says otherwise."""
        op = definition(*operands, types=[type], regions=(), loc=anchor.loc if loc is None else loc, **attrs)
        return self.rewriter.insert_before(anchor, op).result

    def build_constant(self, anchor: Op, array: Array, dtype: str, hint: str = "") -> Value:
        """A new constant before `anchor`, its elements added to the store."""
        symbol = self.resources.declare(self.module, self.resources.add(array, hint))
        return self.build(anchor, graph.constant_def, type=TensorType(array.shape, dtype), value=symbol)


# A rule gives the value to read instead of `op`'s result, having built what that needs before `op`; or None.
Rule = Callable[[Op, Site], Value | None]


def apply_rules(module: Op, rules: Sequence[Rule], resources: ResourceStore) -> None:
    """Rewrite `module` until no rule gives anything."""
    rewrite(module, [_pattern(rule, module, resources) for rule in rules])


def _pattern(rule: Rule, module: Op, resources: ResourceStore) -> Pattern:
    @wraps(rule)
    def pattern(op: Op, rewriter: Rewriter) -> bool:
        # What a fusion left behind would match again; it waits for `dead-code`.
        is_read = any(result.uses for result in op.results)
        value = rule(op, Site(module, resources, rewriter)) if is_read else None
        if value is not None:
            rewriter.replace(op, value)
        return value is not None

    return pattern


def producer(value: Value, definition: OpDef, fn: str | None = None) -> Op | None:
    """The op that makes `value`, if it is a `definition` (whose attribute `fn` is as given)."""
    op = value.op
    if op is None or not definition.matches(op) or (fn is not None and op.attrs["fn"] != fn):
        return None
    return op


def constant(value: Value, resources: ResourceStore, limit: int = SMALL) -> Array | None:
    """The elements of a constant of at most `limit` elements, else None."""
    op = producer(value, graph.constant_def)
    if op is None:
        return None
    name = op.attrs["value"]
    assert isinstance(name, Symbol)
    return resources.get(name.name) if prod(resources.info(name.name).shape) <= limit else None


def scalar(value: Value, resources: ResourceStore) -> float | None:
    """The value of a constant of one element, else None."""
    array = constant(value, resources, limit=1)
    return float(array.reshape(())) if array is not None and array.size == 1 else None


def uniform(value: Value, resources: ResourceStore) -> float | None:
    """The value that every element of a small constant has, else None."""
    array = constant(value, resources)
    if array is None or array.size == 0 or np.any(array != array.flat[0]):
        return None
    return float(array.flat[0])


def with_constant(op: Op, resources: ResourceStore) -> tuple[Value, float] | None:
    """(other operand, scalar) of a binary op whose second operand, or either if it commutes, is a scalar constant."""
    a, b = op.operands
    right = scalar(b, resources)
    if right is not None:
        return a, right
    left = scalar(a, resources) if op.attrs["fn"] in COMMUTATIVE else None
    return (b, left) if left is not None else None


COMMUTATIVE = frozenset({"add", "mul", "max", "min"})


def orders(op: Op) -> Iterator[tuple[Value, Value]]:
    """The operands of a binary op: as they are, and swapped if it commutes."""
    a, b = op.operands
    yield a, b
    if op.attrs["fn"] in COMMUTATIVE:
        yield b, a


def unwrap_casts(value: Value) -> Value:
    """`value` before any casts between floating-point types."""
    op = producer(value, graph.cast_def)
    while op is not None and tensor_type(op.operands[0]).dtype in FLOATS and tensor_type(value).dtype in FLOATS:
        value = op.operands[0]
        op = producer(value, graph.cast_def)
    return value


def merged_location(root: Op, *leaves: Value) -> Loc:
    """The locations of `root` and of everything it is computed from, down to `leaves` and constants, first op first."""
    region: dict[Op, None] = {}

    def visit(op: Op) -> None:
        for value in op.operands:
            if value.op is not None and value not in leaves and value.op not in region:
                visit(value.op)
        region[op] = None

    visit(root)
    first, *others = (op.loc for op in region if not graph.constant_def.matches(op))
    return first.merged(*others)
