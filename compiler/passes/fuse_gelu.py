"""fuse-gelu: GELU spelled out as arithmetic around erf or tanh becomes one `graph.unary`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi, sqrt

from compiler.dialects import graph
from compiler.dialects.graph import tensor_type
from compiler.ir.core import Op, Value
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.patterns import Site, apply_rules, merged_location, producer, unwrap_casts
from compiler.passes.polynomial import Polynomial, polynomial, same_polynomial
from compiler.resources import ResourceStore

# function -> (fused function, its argument as a polynomial in x)
FORMS: dict[str, tuple[str, Polynomial]] = {
    "erf": ("gelu_erf", {(1,): sqrt(0.5)}),
    "tanh": ("gelu_tanh", {(1,): sqrt(2 / pi), (3,): sqrt(2 / pi) * 0.044715}),
}
# 0.5*x + 0.5*x*t over (x, t), where t is erf or tanh of the argument.
OUTER: Polynomial = {(1, 0): 0.5, (1, 1): 0.5}
# Relative error of a coefficient: fp32 spellings differ in the sixth digit, fp16 constants are rounded to 11 bits.
TOLERANCE = {"f32": 1e-5, "f16": 4e-3}
REACH = 5  # ops from the root up to erf or tanh, and from there up to x


@register
@dataclass(frozen=True)
class FuseGelu(Pass):
    name = "fuse-gelu"
    summary = "turn GELU around erf or tanh into one op"

    def run(self, module: Op, ctx: PassContext) -> None:
        apply_rules(module, [gelu], ctx.resources)


def gelu(op: Op, site: Site) -> Value | None:
    """`op` as a GELU of some x, if it is the last op of one (in fp16, the cast back from fp32).

    What others read of the formula stays for them.
    """
    if not graph.binary_def.matches(op) and not graph.cast_def.matches(op):
        return None
    for t in _above(op.result):
        match = _gelu_around(op, t, site.resources)
        if match is not None:
            x, fn = match
            return site.build(op, graph.unary_def, x, type=op.result.type, loc=merged_location(op, x), fn=fn)
    return None


def _gelu_around(root: Op, t: Value, resources: ResourceStore) -> tuple[Value, str] | None:
    """(x, fused function) if `root` is the GELU whose erf or tanh is `t`."""
    activation = producer(t, graph.unary_def)
    form = FORMS.get(str(activation.attrs["fn"])) if activation else None
    if activation is None or form is None:
        return None
    fn, inner = form
    argument = activation.operands[0]
    tolerance = TOLERANCE[tensor_type(root.result).dtype]
    for x in _above(argument):
        if x.type != root.result.type or not same_polynomial(polynomial(argument, [x], resources), inner, tolerance):
            continue
        if same_polynomial(polynomial(root.result, [x, t], resources), OUTER, tolerance):
            return x, fn
    return None


def _above(value: Value) -> Iterator[Value]:
    """`value` and what it is computed from, nearest first, up to `REACH` ops away; casts count as nothing."""
    level = [unwrap_casts(value)]
    for _ in range(REACH + 1):
        yield from level
        operands = [operand for v in level if v.op is not None for operand in v.op.operands]
        level = list(dict.fromkeys(unwrap_casts(operand) for operand in operands))
