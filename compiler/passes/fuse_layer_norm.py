"""fuse-layer-norm: a layer norm spelled out as means, square and root becomes `graph.layer_norm`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from compiler.dialects import graph
from compiler.dialects.graph import tensor_type
from compiler.graph_interpreter import NUMPY_DTYPES
from compiler.ir.core import Op, Value
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.patterns import (
    Site,
    apply_rules,
    merged_location,
    orders,
    producer,
    scalar,
    unwrap_casts,
    with_constant,
)
from compiler.passes.polynomial import polynomial
from compiler.resources import ResourceStore


@dataclass(frozen=True)
class LayerNorm:
    """A layer norm of `x` [.., width] as matched so far; None: no scale, or bias, was seen yet."""

    x: Value
    width: int
    epsilon: float
    scale: Value | None = None
    bias: Value | None = None


@register
@dataclass(frozen=True)
class FuseLayerNorm(Pass):
    name = "fuse-layer-norm"
    summary = "turn means, square and root into one layer norm"

    def run(self, module: Op, ctx: PassContext) -> None:
        apply_rules(module, [layer_norm], ctx.resources)


def layer_norm(op: Op, site: Site) -> Value | None:
    """`op` as `graph.layer_norm`, if it is the last op of one: the last of centre, normalise, scale, bias and cast."""
    norm = _match(op, site.resources)
    if norm is None or norm.x.type != op.result.type or _continues(op, norm, site.resources):
        return None
    x_type = tensor_type(norm.x)
    dtype = NUMPY_DTYPES[x_type.dtype]
    scale = norm.scale or site.build_constant(op, np.ones(norm.width, dtype), x_type.dtype, "unit scale")
    bias = norm.bias or site.build_constant(op, np.zeros(norm.width, dtype), x_type.dtype, "zero bias")
    location = merged_location(op, norm.x)
    return site.build(
        op, graph.layer_norm_def, norm.x, scale, bias, type=op.result.type, loc=location, epsilon=norm.epsilon
    )


def _match(op: Op, resources: ResourceStore) -> LayerNorm | None:
    """The layer norm that `op` ends: bare, scaled, biased or cast."""
    if graph.cast_def.matches(op):
        before = op.operands[0].op
        return _match(before, resources) if before and unwrap_casts(op.result) is not op.result else None
    if not graph.binary_def.matches(op):
        return None
    bare = _normalised(op, resources)
    if bare is not None:
        return bare
    for value, vector in orders(op):
        inner = _match(value.op, resources) if value.op and _is_vector(vector, value) else None
        if inner is None:
            continue
        if op.attrs["fn"] == "mul" and inner.scale is None and inner.bias is None:
            return replace(inner, scale=vector)
        if op.attrs["fn"] == "add" and inner.bias is None:
            return replace(inner, bias=vector)
    return None


def _continues(op: Op, norm: LayerNorm, resources: ResourceStore) -> bool:
    """Does the only reader of `op` belong to the same layer norm?"""
    readers = op.result.users
    longer = _match(readers[0], resources) if len(readers) == 1 else None
    return longer is not None and longer.x is norm.x and longer.x.type == readers[0].result.type


def _normalised(op: Op, resources: ResourceStore) -> LayerNorm | None:
    """`op` as d / sqrt(var + epsilon), or d times the reciprocal of that root, where d = x - mean(x)."""
    for centred, other in _quotients(op):
        power = _power(other, resources)
        if power is None or power[1] != (0.5 if op.attrs["fn"] == "div" else -0.5):
            continue
        x, epsilon = _centred(centred), _epsilon(power[0], centred, resources)
        width = tensor_type(op.result).shape[-1]
        if x is None or epsilon is None or not isinstance(width, int):
            continue
        if tensor_type(x).shape == tensor_type(op.result).shape:
            return LayerNorm(x, width, epsilon)
    return None


def _quotients(op: Op) -> Iterator[tuple[Value, Value]]:
    if op.attrs["fn"] in ("div", "mul"):
        yield from ((unwrap_casts(a), unwrap_casts(b)) for a, b in orders(op))


def _power(value: Value, resources: ResourceStore) -> tuple[Value, float] | None:
    """(base, exponent) of a square root, power or reciprocal, or of such of such."""
    op = value.op
    if op is None:
        return None
    inner, exponent = _root_or_reciprocal(op, resources)
    if exponent is None:
        return None
    base, outer = _power(inner, resources) or (inner, 1.0)
    return base, outer * exponent


def _root_or_reciprocal(op: Op, resources: ResourceStore) -> tuple[Value, float | None]:
    exponents = {"sqrt": 0.5, "reciprocal": -1.0}
    if graph.unary_def.matches(op):
        return op.operands[0], exponents.get(str(op.attrs["fn"]))
    if graph.binary_def.matches(op) and op.attrs["fn"] == "pow":
        return op.operands[0], scalar(op.operands[1], resources)
    if graph.binary_def.matches(op) and op.attrs["fn"] == "div" and scalar(op.operands[0], resources) == 1.0:
        return op.operands[1], -1.0
    return op.result, None


def _centred(d: Value) -> Value | None:
    """x, if `d` is x - mean(x) over the last axis."""
    op = producer(d, graph.binary_def, "sub")
    if op is None:
        return None
    x, mean = (unwrap_casts(operand) for operand in op.operands)
    averaged = _mean_of(mean)
    return x if averaged is not None and unwrap_casts(averaged) is x else None


def _epsilon(value: Value, d: Value, resources: ResourceStore) -> float | None:
    """epsilon, if `value` is mean(d * d) + epsilon."""
    op = producer(value, graph.binary_def, "add")
    sum_ = with_constant(op, resources) if op else None
    if sum_ is None:
        return None
    squares = _mean_of(unwrap_casts(sum_[0]))
    is_variance = squares is not None and polynomial(squares, [d], resources) == {(2,): 1.0}
    return sum_[1] if is_variance else None


def _mean_of(value: Value) -> Value | None:
    """v, if `value` is mean(v) over the last axis, kept as size 1."""
    op = producer(value, graph.reduce_def, "mean")
    return op.operands[0] if op and op.attrs["axes"] == (-1,) and op.attrs["keepdims"] else None


def _is_vector(value: Value, like: Value) -> bool:
    """Is `value` a constant with one element for each feature of `like`?"""
    return graph.constant_def.matches(value.op) and tensor_type(value).shape == tensor_type(like).shape[-1:]
