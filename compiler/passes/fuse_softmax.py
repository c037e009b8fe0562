"""fuse-softmax: exp(x) / sum(exp(x)), with or without the maximum taken off first, becomes `graph.softmax`."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.dialects import graph
from compiler.ir.core import Op, Value
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.patterns import Site, apply_rules, merged_location, producer


@register
@dataclass(frozen=True)
class FuseSoftmax(Pass):
    name = "fuse-softmax"
    summary = "turn exp(x) / sum(exp(x)) into one softmax"

    def run(self, module: Op, ctx: PassContext) -> None:
        apply_rules(module, [softmax], ctx.resources)


def softmax(op: Op, site: Site) -> Value | None:
    """`op` as a softmax over the last axis, if it is the division that ends one."""
    if not graph.binary_def.matches(op) or op.attrs["fn"] != "div":
        return None
    e, total = op.operands
    exponential = producer(e, graph.unary_def, "exp")
    if exponential is None or _reduced(total, "sum") is not e or e.type != op.result.type:
        return None
    x = _shifted(exponential.operands[0])
    return site.build(op, graph.softmax_def, x, type=op.result.type, loc=merged_location(op, x))


def _shifted(value: Value) -> Value:
    """x, if `value` is x - max(x) (softmax does not change by it), else `value`."""
    op = producer(value, graph.binary_def, "sub")
    if op is not None and _reduced(op.operands[1], "max") is op.operands[0]:
        return op.operands[0]
    return value


def _reduced(value: Value, fn: str) -> Value | None:
    op = producer(value, graph.reduce_def, fn)
    return op.operands[0] if op and op.attrs["axes"] == (-1,) and op.attrs["keepdims"] else None
