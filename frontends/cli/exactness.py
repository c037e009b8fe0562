"""Whether a model's result has no rounding at all, so that any two correct implementations agree in every bit.

It has none if all its constants are integers, every op maps integers to integers, and no sum of magnitudes can reach
2^24: then every partial sum, in whatever order, is an integer that fp32 holds. With fp16 storage what is multiplied
must also stay within 2^11. Bounds are one number per value, from the inputs' bound on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from compiler.dialects.graph import tensor_type
from compiler.ir.core import Op, Symbol, Value
from compiler.resources import ResourceStore
from runtime.check import INPUT_BOUND

LIMIT = 2.0**24
OPERAND_LIMIT = {"fp32": LIMIT, "fp16": 2.0**11}


def is_exact(module: Op, resources: ResourceStore, precision: str) -> bool:
    """Whether the `graph` module computes without rounding for integer inputs of at most INPUT_BOUND (or token ids)."""
    bounds: dict[Value, float] = {}
    for op in module.body.ops:
        if op.name in ("builtin.resource", "graph.output"):
            continue
        bound = _bound(op, bounds, resources, OPERAND_LIMIT[precision])
        if not bound < LIMIT:
            return False
        bounds[op.result] = bound
    return True


def _bound(op: Op, bounds: dict[Value, float], resources: ResourceStore, operand_limit: float) -> float:
    """The largest magnitude of the op's result and of every partial sum; infinite where rounding may occur."""
    if tensor_type(op.result).dtype == "f16":  # rounded to fp16 after every op
        return math.inf
    kind = op.name.removeprefix("graph.")
    given = [bounds[value] for value in op.operands]
    fn = op.attrs.get("fn")
    match kind, fn:
        case "input", _:
            return INPUT_BOUND if tensor_type(op.result).dtype.startswith("f") else 0.0
        case "constant", _:
            return _constant(op, resources)
        case "gather", _:
            return given[0]
        case "reshape" | "transpose" | "slice" | "expand" | "concat", _:
            return max(given)
        case "unary", "abs" | "neg" | "relu":
            return given[0]
        case "binary", "max" | "min":
            return max(given)
        case "binary", "add" | "sub":
            return sum(given)
        case "binary", "mul" if max(given) <= operand_limit:
            return math.prod(given)
        case "matmul", _ if max(given) <= operand_limit:
            return _matmul(op, given, resources)
    return math.inf


def _constant(op: Op, resources: ResourceStore) -> float:
    array = _array(op, resources)
    if not array.size:
        return 0.0
    whole = array.dtype.kind != "f" or bool(np.all(array == np.rint(array)))
    return float(np.abs(array).max()) if whole else math.inf


def _matmul(op: Op, given: list[float], resources: ResourceStore) -> float:
    """The sum of magnitudes: by column where the right factor is constant, else by the length of the dot products."""
    a, b = op.operands
    if b.op is not None and b.op.name == "graph.constant":
        array = np.abs(_array(b.op, resources).astype(np.float64))
        sums = array.sum(axis=-1 if op.attrs["transpose_b"] else -2)
        return given[0] * float(sums.max(initial=0.0))
    length = tensor_type(a).shape[-1]
    return given[0] * given[1] * length if isinstance(length, int) else math.inf


def _array(op: Op, resources: ResourceStore) -> np.ndarray[Any, Any]:
    name = op.attrs["value"]
    assert isinstance(name, Symbol)
    return resources.get(name.name)
