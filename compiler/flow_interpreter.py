"""What a `flow` module means, at any phase from `flow` to `route`: every kernel in plain numpy.

A stream is an array [token axes.., features]. Of several token axes the last is the sequence, whose positions count
from 0; a lone one is the batch, and every token then stands at position 0. Sums are fp32. With `storage = "f16"` values
are rounded where the kernels round them: weights, the vector a matrix multiplies, q (scaled), k, v and softmax weights.

This is a reference for tests: fp32 results differ from the machine's in the order of additions only. The machine never
uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from compiler.dialects import flow
from compiler.graph_interpreter import BINARY, NUMPY_DTYPES, UNARY, Array
from compiler.ir.core import Op, Value
from compiler.resources import ResourceStore
from runtime.errors import InputError
from runtime.stream import Blocks


@dataclass(frozen=True)
class Run:
    """One run: the constants, and the graph inputs by name."""

    resources: ResourceStore
    inputs: Mapping[str, Array]

    def constant(self, symbol: Any) -> Array:
        """A constant in fp32."""
        return self.resources.get(symbol.name).astype(np.float32)


def run_flow(module: Op, resources: ResourceStore, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run every kernel of a `flow` module in order.

    `inputs` holds arrays by graph input name, in the graph's shapes with any batch and sequence. Returns arrays by
    graph output name. Raises InputError for a missing input, an id outside its table, or an op of another level.
    """
    run = Run(resources, inputs)
    values: dict[Value, Array] = {}
    outputs: dict[str, Array] = {}
    for op in module.body.ops:
        if op.dialect in ("builtin", "fabric"):
            continue
        function = FUNCTIONS.get(op.name)
        if function is None:
            raise InputError(f"{op.name} has no meaning as a flow op", code="unsupported-op", where=str(op.loc))
        with np.errstate(all="ignore"):
            result = function(op, [values[value] for value in op.operands], run)
        values.update(dict.fromkeys(op.results, result))
        if op.name == "flow.output":
            outputs[str(op.attrs["name"])] = result
    return outputs


def _input(op: Op, _: list[Array], run: Run) -> Array:
    a: Any = op.attrs
    if a["name"] not in run.inputs:
        known = ", ".join(sorted(run.inputs)) or "none"
        raise InputError(f"input {a['name']!r} is missing; given: {known}", code="missing-input", where=a["name"])
    array = np.asarray(run.inputs[a["name"]])
    features = flow.stream(op.result.type).features
    tokens = array.ndim if "limit" in a else _token_axes(a["shape"], features)
    return array.reshape(*array.shape[:tokens], features).astype(NUMPY_DTYPES[flow.stream(op.result.type).dtype])


def _output(op: Op, arguments: list[Array], _: Run) -> Array:
    a: Any = op.attrs
    (x,) = arguments
    features = a["shape"][_token_axes(a["shape"], x.shape[-1]) :]
    return x.reshape(*x.shape[:-1], *features).astype(NUMPY_DTYPES[a["dtype"]])


def _token_axes(shape: tuple[int | str, ...], features: int) -> int:
    """How many leading axes count tokens: all before the fewest last ones that hold the features."""
    for axes in range(len(shape) - 1, -1, -1):
        if prod(size for size in shape[axes:] if isinstance(size, int)) == features:
            return axes
    return 0


def _sequence(x: Array) -> int:
    """Tokens of one sequence in a stream."""
    return x.shape[-2] if x.ndim > 2 else 1


def _stored(op: Op, array: Array) -> Array:
    """As a core keeps it: in fp32, rounded to fp16 if that is the kernel's storage."""
    return array.astype(np.float16 if op.attrs["storage"] == "f16" else np.float32).astype(np.float32)


def _lookup(op: Op, arguments: list[Array], run: Run) -> Array:
    a: Any = op.attrs
    ids = arguments[0][..., 0]
    if ids.size and not (ids.min() >= 0 and ids.max() < a["counts"][0]):
        raise InputError(
            f"an index in [{ids.min()}, {ids.max()}] is outside the {a['counts'][0]} rows of the table",
            code="index-out-of-range",
            where=str(op.loc),
        )
    tables = [_stored(op, run.constant(table)) for table in a["tables"]]
    rows: Array = tables[0][ids]
    return rows + tables[1][: _sequence(rows)] if len(tables) == 2 else rows


def _matvec(op: Op, arguments: list[Array], run: Run) -> Array:
    a: Any = op.attrs
    x = _stored(op, arguments[0])
    groups: list[Array] = []
    lists = (a[key] for key in ("weights", "transposed", "biases", "starts", "counts"))
    for weight, transposed, bias, start, count in zip(*lists, strict=True):
        columns = slice(start, start + count)
        matrix = run.constant(weight)
        y = x @ _stored(op, (matrix.T if transposed else matrix)[:, columns])
        groups.append(y + run.constant(bias).reshape(-1)[columns] if bias else y)
    together = _side_by_side(op, groups)
    return UNARY[a["activation"]](together) if a["activation"] else together


def _side_by_side(op: Op, groups: list[Array]) -> Array:
    """Lane after lane, each group's share of the lane."""
    if len(groups) == 1:
        return groups[0]
    type = flow.stream(op.result.type)
    shares = [Blocks(y.shape[-1], type.block * y.shape[-1] // type.features) for y in groups]
    parts = [
        y[..., share.start(lane) : share.start(lane + 1)]
        for lane in range(type.lanes)
        for y, share in zip(groups, shares, strict=True)
    ]
    return np.concatenate(parts, axis=-1)


def _norm(op: Op, arguments: list[Array], run: Run) -> Array:
    a: Any = op.attrs
    (x,) = arguments
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    scale, bias = (run.constant(a[key]).reshape(-1) for key in ("scale", "bias"))
    return np.asarray(centred / np.sqrt(variance + np.float32(a["epsilon"])) * scale + bias)


def _attention(op: Op, arguments: list[Array], _: Run) -> Array:
    a: Any = op.attrs
    (x,) = arguments
    seq = _sequence(x)
    # [token axes, heads * lanes * (q, k, v)] -> [q k v, row, head, position, element]
    pieces = 3 * a["head_dim"] // flow.stream(op.operands[0].type).block
    parts = x.reshape(-1, seq, a["heads"], pieces, 3, a["head_dim"] // pieces).transpose(4, 0, 2, 1, 3, 5)
    parts = parts.reshape(*parts.shape[:4], a["head_dim"])
    q, k, v = _stored(op, parts[0] * np.float32(a["scale"])), _stored(op, parts[1]), _stored(op, parts[2])
    causal = np.tri(seq, dtype=np.bool_)
    scores = np.where(causal, q @ k.swapaxes(-1, -2), np.float32(-np.inf))
    # Position t is kept on core t mod spread, and weights are rounded relative to the largest score of their core.
    spread = a.get("spread", 1)
    largest = np.empty_like(scores)
    for core in range(min(spread, seq)):
        largest[..., core::spread] = scores[..., core::spread].max(axis=-1, keepdims=True)
    weights = _stored(op, np.where(causal, np.exp(scores - largest), np.float32(0)))
    weights *= np.exp(largest - scores.max(axis=-1, keepdims=True))
    y: Array = weights @ v / weights.sum(axis=-1, keepdims=True)
    return y.transpose(0, 2, 1, 3).reshape(*x.shape[:-1], a["heads"] * a["head_dim"])


def _map(op: Op, arguments: list[Array], run: Run) -> Array:
    a: Any = op.attrs
    (x,) = arguments
    if "constant" not in a:
        return UNARY[a["fn"]](x)
    constant = run.constant(a["constant"]).reshape(-1)
    return BINARY[a["fn"]](*((constant, x) if a["swapped"] else (x, constant)))


def _join(op: Op, arguments: list[Array], _: Run) -> Array:
    return BINARY[str(op.attrs["fn"])](*arguments)


def _same(_op: Op, arguments: list[Array], _: Run) -> Array:
    return arguments[0]


FUNCTIONS: dict[str, Callable[[Op, list[Array], Run], Array]] = {
    "flow.input": _input,
    "flow.output": _output,
    "flow.lookup": _lookup,
    "flow.matvec": _matvec,
    "flow.norm": _norm,
    "flow.attention": _attention,
    "flow.map": _map,
    "flow.join": _join,
    "flow.fork": _same,
    "flow.fifo": _same,
    "flow.relane": _same,
}
