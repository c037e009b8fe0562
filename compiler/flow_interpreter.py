"""What a `flow` module means, at any phase from `flow` to `route`: every kernel in plain numpy.

A stream is an array [token axes.., features]. Of several token axes the last is the sequence, whose positions count
from 0; a lone one is the batch, and every token then stands at position 0. Sums are fp32. With `storage = "f16"` values
are rounded where the kernels round them: weights, the vector a matrix multiplies, q (scaled), k, v and softmax weights.

This is a reference for tests and per-layer comparisons: fp32 results differ from the machine's in the order of
additions only. The machine never uses it. Weights are read by columns, so that no large matrix is ever in memory whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from compiler.dialects import flow
from compiler.graph_interpreter import BINARY, NUMPY_DTYPES, UNARY, Array
from compiler.ir.core import Op, Value
from compiler.resources import ResourceStore
from runtime.errors import InputError
from runtime.stream import Blocks

CHUNK = 1 << 22  # elements of a matrix looked at at a time


@dataclass(frozen=True)
class Run:
    """One run: the constants, the graph inputs by name, and the type that sums are formed in.

    With float64 sums, and float64 streams given, an op's result is as good as exact for the same rounded operands.
    """

    resources: ResourceStore
    inputs: Mapping[str, Array]
    sums: Any = np.float32

    def constant(self, symbol: Any) -> Array:
        """A constant in fp32."""
        return self.resources.get(symbol.name).astype(np.float32)

    def columns(self, op: Op) -> Iterator[tuple[int, slice, Array]]:
        """The matrices of a `flow.matvec` piece by piece: group, columns of the group, and [k, columns] as it is."""
        a: Any = op.attrs
        lists = (a[key] for key in ("weights", "transposed", "starts", "counts"))
        for group, (weight, transposed, start, count) in enumerate(zip(*lists, strict=True)):
            matrix = self.resources.get(weight.name)
            matrix = matrix.T if transposed else matrix
            step = max(1, CHUNK // matrix.shape[0])
            for first in range(0, count, step):
                last = min(count, first + step)
                yield group, slice(first, last), matrix[:, start + first : start + last]


class Step(NamedTuple):
    """An op at work on a token, in the pass with this number: from 0 where layers share kernels, else 0."""

    op: Op
    number: int


Sent = tuple[Value, int]  # a stream, and in which pass


def steps(module: Op) -> Iterator[Step]:
    """What a token goes through, in order: ops between a gate and its switch once in every pass."""
    ops = [op for op in module.body.ops if op.dialect not in ("builtin", "fabric")]
    at, begin, number = 0, 0, 0
    while at < len(ops):
        op = ops[at]
        yield Step(op, number)
        if op.name == "flow.gate":
            begin = at
        at += 1
        if op.name == "flow.switch":
            number = (number + 1) % flow.passes_of(op)
            at = begin if number else at


def reads(step: Step) -> list[Sent]:
    """What a step reads: after the first pass a gate what its switch sent in the pass before."""
    op, number = step
    if op.name == "flow.gate" and number:
        return [(flow.switch_of(op).result, number - 1)]
    return [(value, number if (last := _last_pass(value)) is None else last) for value in op.operands]


def _last_pass(value: Value) -> int | None:
    """Of a stream that leaves shared kernels the pass in which it does."""
    return flow.passes_of(value.op) - 1 if value.op is not None and value.op.name == "flow.switch" else None


def run_flow(module: Op, resources: ResourceStore, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run every kernel of a `flow` module in order.

    `inputs` holds arrays by graph input name, in the graph's shapes with any batch and sequence. Returns arrays by
    graph output name. Raises InputError for a missing input, an id outside its table, or an op of another level.
    """
    run = Run(resources, inputs)
    values: dict[Sent, Array] = {}
    outputs: dict[str, Array] = {}
    for step in steps(module):
        op, number = step
        result = evaluate(op, [values[read] for read in reads(step)], run, number)
        values.update({(value, number): result for value in op.results})
        if op.name == "flow.output":
            outputs[str(op.attrs["name"])] = result
    return outputs


def evaluate(op: Op, arguments: list[Array], run: Run, number: int = 0) -> Array:
    """What one op makes of its streams, in pass `number` of a token. Raises InputError as `run_flow` does."""
    function = FUNCTIONS.get(op.name)
    if function is None:
        raise InputError(f"{op.name} has no meaning as a flow op", code="unsupported-op", where=str(op.loc))
    with in_pass(op, number) as then, np.errstate(all="ignore"):
        return function(then, arguments, run)


@contextmanager
def in_pass(op: Op, number: int) -> Iterator[Op]:
    """An op of the same streams with the constants that `op` has in a pass."""
    then = Op(op.name, op.operands, [value.type for value in op.results], flow.in_pass(op.attrs, number), loc=op.loc)
    try:
        yield then
    finally:
        then.drop_operands()


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


def sequence(x: Array) -> int:
    """Tokens of one sequence in a stream."""
    return x.shape[-2] if x.ndim > 2 else 1


def stored(op: Op, array: Array, run: Run) -> Array:
    """As a core keeps it: in fp32, rounded to fp16 if that is the kernel's storage; in the type of sums."""
    kept = array.astype(np.float32, copy=False)
    return (kept.astype(np.float16) if op.attrs["storage"] == "f16" else kept).astype(run.sums)


def _lookup(op: Op, arguments: list[Array], run: Run) -> Array:
    a: Any = op.attrs
    ids = arguments[0][..., 0]
    if ids.size and not (ids.min() >= 0 and ids.max() < a["counts"][0]):
        raise InputError(
            f"an index in [{ids.min()}, {ids.max()}] is outside the {a['counts'][0]} rows of the table",
            code="index-out-of-range",
            where=str(op.loc),
        )
    tables = [run.resources.get(table.name) for table in a["tables"]]
    rows = stored(op, tables[0][ids], run)
    return rows + stored(op, tables[1][: sequence(rows)], run) if len(tables) == 2 else rows


def _matvec(op: Op, arguments: list[Array], run: Run) -> Array:
    a: Any = op.attrs
    x = stored(op, arguments[0], run)
    groups: list[Array] = [np.empty((*x.shape[:-1], count), run.sums) for count in a["counts"]]
    for group, columns, weight in run.columns(op):
        groups[group][..., columns] = x @ stored(op, weight, run)
    for y, bias, start, count in zip(groups, a["biases"], a["starts"], a["counts"], strict=True):
        if bias:
            y += run.constant(bias).reshape(-1)[start : start + count]
    together = side_by_side(op, groups)
    return UNARY[a["activation"]](together) if a["activation"] else together


def side_by_side(op: Op, groups: list[Array]) -> Array:
    """The groups of a `flow.matvec` as its stream has them: lane after lane, each group's share of the lane."""
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


def heads_of(op: Op, x: Array) -> Array:
    """The stream into a `flow.attention` as [q k v, row, head, position, element]."""
    a: Any = op.attrs
    # [token axes, heads * lanes * (q, k, v)]
    pieces = 3 * a["head_dim"] // flow.stream(op.operands[0].type).block
    parts = x.reshape(-1, sequence(x), a["heads"], pieces, 3, a["head_dim"] // pieces).transpose(4, 0, 2, 1, 3, 5)
    return parts.reshape(*parts.shape[:4], a["head_dim"])


def _attention(op: Op, arguments: list[Array], run: Run) -> Array:
    a: Any = op.attrs
    (x,) = arguments
    seq = sequence(x)
    parts = heads_of(op, x)
    q, k, v = stored(op, parts[0] * np.float32(a["scale"]), run), stored(op, parts[1], run), stored(op, parts[2], run)
    causal = np.tri(seq, dtype=np.bool_)
    scores = np.where(causal, q @ k.swapaxes(-1, -2), np.float32(-np.inf))
    # Position t is kept on core t mod spread, and weights are rounded relative to the largest score of their core.
    spread = a.get("spread", 1)
    largest = np.empty_like(scores)
    for core in range(min(spread, seq)):
        largest[..., core::spread] = scores[..., core::spread].max(axis=-1, keepdims=True)
    weights = stored(op, np.where(causal, np.exp(scores - largest), np.float32(0)), run)
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
    "flow.gate": _same,
    "flow.switch": _same,
}
