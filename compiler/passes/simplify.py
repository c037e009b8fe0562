"""simplify: local rewrites that remove work or choose one spelling of several, as rows; exact to the bit."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.dialects import graph
from compiler.dialects.graph import integers, tensor_type
from compiler.ir.core import Op, Value
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.patterns import COMMUTATIVE, FLOATS, Site, apply_rules, producer, uniform

# x fn c == x: function -> c. (x + 0 turns -0 into 0, which compares equal.)
NEUTRAL = {"add": 0.0, "sub": 0.0, "mul": 1.0, "div": 1.0, "pow": 1.0}


def constant_second(op: Op, site: Site) -> Value | None:
    """c + x -> x + c, so that later rows and passes look in one place."""
    if not graph.binary_def.matches(op) or op.attrs["fn"] not in COMMUTATIVE:
        return None
    a, b = op.operands
    if not graph.constant_def.matches(a.op) or graph.constant_def.matches(b.op):
        return None
    return site.build(op, graph.binary_def, b, a, type=op.result.type, fn=op.attrs["fn"])


def neutral_constant(op: Op, site: Site) -> Value | None:
    """x + 0, x - 0, x * 1, x / 1, x ** 1 -> x."""
    if not graph.binary_def.matches(op) or op.attrs["fn"] not in NEUTRAL:
        return None
    x, constant = op.operands
    is_neutral = x.type == op.result.type and uniform(constant, site.resources) == NEUTRAL[str(op.attrs["fn"])]
    return x if is_neutral else None


def add_zeros(op: Op, _: Site) -> Value | None:
    """x + shape_value zeros -> x."""
    if not graph.binary_def.matches(op) or op.attrs["fn"] != "add":
        return None
    for x, other in (op.operands, op.operands[::-1]):
        if _is_kind(other, "zeros") and x.type == op.result.type:
            return x
    return None


def where_all_true(op: Op, _: Site) -> Value | None:
    """where(all_true, a, b) -> a."""
    if not graph.where_def.matches(op):
        return None
    condition, a, _b = op.operands
    return a if _is_kind(condition, "all_true") and a.type == op.result.type else None


def same_type(op: Op, _: Site) -> Value | None:
    """A reshape, expand, cast or slice to the type it starts from -> x."""
    unchanging = (graph.reshape_def, graph.expand_def, graph.cast_def, graph.slice_def)
    if not any(definition.matches(op) for definition in unchanging):
        return None
    return op.operands[0] if op.operands[0].type == op.result.type else None


def reshape_of_reshape(op: Op, site: Site) -> Value | None:
    """The last shape alone counts."""
    inner = producer(op.operands[0], graph.reshape_def) if graph.reshape_def.matches(op) else None
    if inner is None:
        return None
    return site.build(op, graph.reshape_def, inner.operands[0], type=op.result.type, loc=inner.loc.merged(op.loc))


def transpose_of_transpose(op: Op, site: Site) -> Value | None:
    """Two permutations of axes -> their product."""
    inner = producer(op.operands[0], graph.transpose_def) if graph.transpose_def.matches(op) else None
    if inner is None:
        return None
    first, second = integers(inner, "perm"), integers(op, "perm")
    perm = tuple(first[axis] for axis in second)
    location = inner.loc.merged(op.loc)
    return site.build(op, graph.transpose_def, inner.operands[0], type=op.result.type, loc=location, perm=perm)


def identity_transpose(op: Op, _: Site) -> Value | None:
    """Axes in their own order -> x."""
    if not graph.transpose_def.matches(op):
        return None
    return op.operands[0] if list(integers(op, "perm")) == sorted(integers(op, "perm")) else None


def widening_cast(op: Op, _: Site) -> Value | None:
    """f16 -> f32 -> f16 -> x: nothing is lost on the way."""
    inner = producer(op.operands[0], graph.cast_def) if graph.cast_def.matches(op) else None
    if inner is None or inner.operands[0].type != op.result.type:
        return None
    types = [tensor_type(value).dtype for value in (inner.operands[0], inner.result)]
    return inner.operands[0] if types == list(reversed(FLOATS)) else None


def transposed_weight(op: Op, site: Site) -> Value | None:
    """a @ transpose(b) -> a @ b with the other `transpose_b`, for a matrix b: a weight stays as it is stored."""
    transpose = producer(op.operands[1], graph.transpose_def) if graph.matmul_def.matches(op) else None
    if transpose is None or integers(transpose, "perm") != (1, 0):
        return None
    a, b = op.operands[0], transpose.operands[0]
    flipped = not op.attrs["transpose_b"]
    return site.build(
        op, graph.matmul_def, a, b, type=op.result.type, loc=transpose.loc.merged(op.loc), transpose_b=flipped
    )


ROWS = (
    constant_second,
    neutral_constant,
    add_zeros,
    where_all_true,
    same_type,
    reshape_of_reshape,
    transpose_of_transpose,
    identity_transpose,
    widening_cast,
    transposed_weight,
)


@register
@dataclass(frozen=True)
class Simplify(Pass):
    name = "simplify"
    summary = "remove ops that change nothing and choose one spelling of several"

    def run(self, module: Op, ctx: PassContext) -> None:
        apply_rules(module, ROWS, ctx.resources)


def _is_kind(value: Value, kind: str) -> bool:
    op = producer(value, graph.shape_value_def)
    return op is not None and op.attrs["kind"] == kind
