"""The bounds of `compiler.bounds` for `graph` ops: how far two correct fp32 implementations of a node may be apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler import bounds
from compiler.bounds import Array, Rounding
from compiler.dialects.graph import integer, integers, number, tensor_type
from compiler.flow_interpreter import CHUNK
from compiler.graph_interpreter import Frame, evaluate_op
from compiler.ir.core import Op

BOTH = Rounding(sides=2)
# Ops that only move elements: their result's error is their operands', moved in the same way.
MOVES = ("reshape", "transpose", "slice", "concat", "expand", "cast", "where", "gather")


def bound(op: Op, arguments: list[Array], errors: list[Array], y: Array, frame: Frame) -> Array:
    """Elementwise, for the result `y` of an op on `arguments`, which are themselves off by at most `errors`.

    Infinite for an op on operands without a formula, or without one for operands that are off.
    """
    kind = op.name.removeprefix("graph.")
    if y.dtype.kind != "f":
        return np.zeros(y.shape)
    if kind in MOVES:
        off = _moved(op, kind, arguments, errors, frame)
    else:
        function = FUNCTIONS.get(kind)
        given = arguments if kind == "matmul" else [a.astype(np.float64) for a in arguments]
        with np.errstate(all="ignore"):
            off = function(op, given, errors, y) if function else np.full(y.shape, np.inf if arguments else 0.0)
    if tensor_type(op.result).dtype == "f16":
        off = off + BOTH.sides * (bounds.S * np.abs(y.astype(np.float64)) + bounds.TINY)
    return off


def _moved(op: Op, kind: str, arguments: list[Array], errors: list[Array], frame: Frame) -> Array:
    if not any(np.any(e) for e in errors):
        return np.zeros(frame.shape(op.result))
    keep = {"where": 1, "gather": 1}.get(kind)
    off: list[Array] = [np.broadcast_to(e, a.shape).astype(np.float32) for a, e in zip(arguments, errors, strict=True)]
    if kind == "where":
        off[0] = arguments[0]
    elif keep is not None:
        off[keep] = arguments[keep]
    return evaluate_op(op, off, frame).astype(np.float64)


def _matmul(op: Op, arguments: list[Array], errors: list[Array], y: Array) -> Array:
    """In pieces of the last axis, so that a large matrix is never in memory twice."""
    (a, b), (ea, eb) = arguments, errors
    if op.attrs["transpose_b"]:
        b = np.swapaxes(b, -1, -2)
        eb = np.swapaxes(eb, -1, -2) if np.ndim(eb) > 1 else eb
    a, ea = np.abs(a.astype(np.float64)), np.broadcast_to(ea, a.shape)
    eb = np.broadcast_to(eb, b.shape)
    factor, off = bounds.product(a.shape[-1], BOTH), np.empty(y.shape)
    step = max(1, CHUNK // max(1, b.size // b.shape[-1]))
    for first in range(0, b.shape[-1], step):
        part = (..., slice(first, first + step))
        piece = np.abs(b[part].astype(np.float64))
        off[part] = factor * (a @ piece)
        if np.any(ea):
            off[part] += ea @ piece
        if np.any(eb[part]):
            off[part] += (a + ea) @ eb[part]
    return off


def _unary(op: Op, arguments: list[Array], errors: list[Array], y: Array) -> Array:
    return bounds.unary(str(op.attrs["fn"]), np.abs(arguments[0]), y, errors[0], BOTH)


def _binary(op: Op, arguments: list[Array], errors: list[Array], y: Array) -> Array:
    a, b = arguments
    return np.broadcast_to(bounds.binary(str(op.attrs["fn"]), a, b, y, (errors[0], errors[1]), BOTH), y.shape)


def _reduce(op: Op, arguments: list[Array], errors: list[Array], _y: Array) -> Array:
    axes, keep = integers(op, "axes"), bool(op.attrs["keepdims"])
    x, e = np.abs(arguments[0]), np.broadcast_to(errors[0], arguments[0].shape)
    if op.attrs["fn"] == "max":
        return np.asarray(e.max(axis=axes, keepdims=keep))
    count = int(np.prod([x.shape[axis] for axis in axes]))
    sums = BOTH.gamma(count) * x.sum(axis=axes, keepdims=keep) + e.sum(axis=axes, keepdims=keep)
    return np.asarray(sums / count if op.attrs["fn"] == "mean" else sums)


def _softmax(_op: Op, arguments: list[Array], errors: list[Array], y: Array) -> Array:
    x, e = arguments[0], np.broadcast_to(errors[0], arguments[0].shape)
    finite = np.where(np.isfinite(x), np.abs(x), 0)
    worst = (e + 2 * BOTH.one * finite).max(axis=-1, keepdims=True)
    relative = 2 * np.expm1(2 * worst) + 2 * BOTH.sides * bounds.ROUTINE + BOTH.gamma(x.shape[-1])
    return np.asarray(np.abs(y) * relative)


def _layer_norm(op: Op, arguments: list[Array], errors: list[Array], y: Array) -> Array:
    x, scale, bias = arguments
    e = np.broadcast_to(errors[0], x.shape)
    return bounds.layer_norm(x, e, y, scale, bias, number(op, "epsilon"), BOTH)


def _attention(op: Op, arguments: list[Array], errors: list[Array], y: Array) -> Array:
    heads, d = integer(op, "heads"), integer(op, "head_dim")
    scale, causal = number(op, "scale"), bool(op.attrs["causal"])
    result = np.empty(y.shape)
    off = [np.broadcast_to(e, x.shape) for x, e in zip(arguments, errors, strict=True)]
    for row in range(y.shape[0]):
        for head in range(heads):
            part = slice(head * d, (head + 1) * d)
            q, k, v = (x[row, :, part] for x in arguments)
            eq, ek, ev = (e[row, :, part] for e in off)
            result[row, :, part] = bounds.attention((q, k, v), (eq, ek, ev), scale, causal, 1, BOTH)
    return result


FUNCTIONS: dict[str, Callable[[Op, list[Array], list[Array], Array], Array]] = {
    "matmul": _matmul,
    "unary": _unary,
    "binary": _binary,
    "reduce": _reduce,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "attention": _attention,
}
