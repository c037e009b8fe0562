"""The bounds of `compiler.bounds` for `flow` ops: how far a kernel may be from what its op means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from compiler import bounds
from compiler.bounds import Array, Rounding
from compiler.dialects import flow
from compiler.flow_interpreter import Run, heads_of, in_pass, sequence, side_by_side
from compiler.ir.core import Op


def bound(
    op: Op, arguments: list[Array], errors: list[Array], y: Array, run: Run, rounding: Rounding, number: int = 0
) -> Array:
    """Elementwise, for the result `y` of an op on `arguments`, which are themselves off by at most `errors`.

    `number`: the pass, of an op that layers share.
    What the rounding says of fp16 holds where the op stores fp16. Infinite for an op without a formula.
    """
    function = FUNCTIONS.get(op.name)
    if function is None:
        return np.full(y.shape, np.inf)
    half = op.attrs.get("storage") == "f16"
    rounding = replace(rounding, half=rounding.half and half, storage=half)
    with in_pass(op, number) as then, np.errstate(over="ignore", invalid="ignore"):
        return function(then, [x.astype(np.float64) for x in arguments], errors, y, run, rounding)


def _lookup(op: Op, arguments: list[Array], _e: list[Array], y: Array, run: Run, rounding: Rounding) -> Array:
    tables: Any = op.attrs["tables"]
    ids = arguments[0][..., 0].astype(np.int64)
    size = np.abs(run.resources.get(tables[0].name)[ids])
    if len(tables) == 2:
        size = size + np.abs(run.resources.get(tables[1].name)[: sequence(y)])
    return np.asarray(rounding.stored * size + len(tables) * rounding.tiny + rounding.one * np.abs(y))


def _matvec(op: Op, arguments: list[Array], errors: list[Array], y: Array, run: Run, rounding: Rounding) -> Array:
    """Every product is rounded once and passes at most as many additions as there are products, cores and biases; on
    the machine those of its own tile, and one in every tile below."""
    a: Any = op.attrs
    x, e = np.abs(arguments[0]), errors[0]
    tiles = a.get("tiles") or flow.stream(op.operands[0].type).lanes or x.shape[-1]
    length = (-(-x.shape[-1] // tiles) if rounding.machine else x.shape[-1]) + tiles + 2
    factor = bounds.product(length, rounding)
    sums = rounding.tiny * x.sum(axis=-1, keepdims=True)
    shape = x.shape[:-1]
    sizes = [np.zeros((*shape, count)) for count in a["counts"]]
    offs = [np.zeros((*shape, count)) for count in a["counts"]]
    for group, columns, weight in run.columns(op):
        absolute = np.abs(weight.astype(np.float64))
        sizes[group][..., columns] = x @ absolute
        off = factor * sizes[group][..., columns] + sums + rounding.tiny * absolute.sum(axis=0)
        offs[group][..., columns] = off + (e @ absolute if np.any(e) else 0)
    for size, off, bias, start, count in zip(sizes, offs, a["biases"], a["starts"], a["counts"], strict=True):
        if bias:
            b = np.abs(run.constant(bias).reshape(-1)[start : start + count])
            size += b
            off += rounding.gamma(length) * b
    off, size = side_by_side(op, offs), side_by_side(op, sizes)
    return bounds.unary(a["activation"], size, y, off, rounding) if a["activation"] else off


def _norm(op: Op, arguments: list[Array], errors: list[Array], y: Array, run: Run, rounding: Rounding) -> Array:
    a: Any = op.attrs
    scale, bias = (run.constant(a[key]).reshape(-1) for key in ("scale", "bias"))
    return bounds.layer_norm(arguments[0], errors[0], y, scale, bias, a["epsilon"], rounding)


def _attention(op: Op, arguments: list[Array], errors: list[Array], y: Array, _: Run, rounding: Rounding) -> Array:
    a: Any = op.attrs
    parts, off = heads_of(op, arguments[0]), heads_of(op, np.broadcast_to(errors[0], arguments[0].shape))
    _, rows, heads, seq, d = parts.shape
    result = np.empty((rows, seq, heads, d))
    for row in range(rows):
        for head in range(heads):
            q, k, v = (parts[i, row, head] for i in range(3))
            eq, ek, ev = (off[i, row, head] for i in range(3))
            spread = a.get("spread", 1)
            result[row, :, head] = bounds.attention((q, k, v), (eq, ek, ev), a["scale"], True, spread, rounding)
    return result.reshape(y.shape)


def _map(op: Op, arguments: list[Array], errors: list[Array], y: Array, run: Run, rounding: Rounding) -> Array:
    a: Any = op.attrs
    x, e = arguments[0], errors[0]
    if "constant" not in a:
        return bounds.unary(a["fn"], np.abs(x), y, e, rounding)
    constant, zero = run.constant(a["constant"]).reshape(-1), np.zeros(1)
    if a["swapped"]:
        return bounds.binary(a["fn"], constant, x, y, (zero, e), rounding)
    return bounds.binary(a["fn"], x, constant, y, (e, zero), rounding)


def _join(op: Op, arguments: list[Array], errors: list[Array], y: Array, _: Run, rounding: Rounding) -> Array:
    a, b = arguments
    return bounds.binary(str(op.attrs["fn"]), a, b, y, (errors[0], errors[1]), rounding)


def _same(_op: Op, _a: list[Array], errors: list[Array], _y: Array, _r: Run, _rounding: Rounding) -> Array:
    return errors[0]


def _nothing(_op: Op, _a: list[Array], _e: list[Array], y: Array, _r: Run, _rounding: Rounding) -> Array:
    return np.zeros(y.shape)


FUNCTIONS: dict[str, Callable[[Op, list[Array], list[Array], Array, Run, Rounding], Array]] = {
    "flow.input": _nothing,
    "flow.output": lambda _op, _a, errors, y, _r, _rounding: errors[0].reshape(y.shape),
    "flow.lookup": _lookup,
    "flow.matvec": _matvec,
    "flow.norm": _norm,
    "flow.attention": _attention,
    "flow.map": _map,
    "flow.join": _join,
    "flow.fork": _same,
    "flow.fifo": _same,
    "flow.relane": _same,
    "flow.gate": _same,
    "flow.switch": _same,
}
