"""What a `graph` module means: every op in plain numpy, floats computed in fp32 and rounded to the result's type.

This is the oracle of the compiler's tests and of per-layer comparisons. The machine never uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import erf, pi, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.dialects.graph import integer, integers, number, tensor_type
from compiler.dims import evaluate
from compiler.ir.core import Op, Value
from compiler.resources import ResourceStore
from runtime.errors import InputError

Array = NDArray[Any]

NUMPY_DTYPES = {"f32": np.float32, "f16": np.float16, "i64": np.int64, "i32": np.int32, "bool": np.bool_}


@dataclass
class Frame:
    """One run: the constants, the inputs, and the sizes that the inputs gave to the symbolic dimensions."""

    resources: ResourceStore
    inputs: Mapping[str, Array]
    dims: dict[str, int] = field(default_factory=dict)

    def shape(self, value: Value) -> tuple[int, ...]:
        """The shape of `value` in this run. Raises InputError if no input gave a size to one of its dimensions."""
        try:
            return tuple(evaluate(dim, self.dims) for dim in tensor_type(value).shape)
        except KeyError as error:
            raise InputError(
                f"no input gives a size to dimension {error.args[0]!r}", code="unbound-dimension", where=_where(value)
            ) from None


def run_graph(module: Op, resources: ResourceStore, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run every op of a `graph` module in order.

    `inputs` holds arrays by graph input name; symbolic dimensions take their sizes from them. Returns arrays by graph
    output name. Raises InputError for a missing input, a wrong dtype or shape (naming op and location), or an op
    that is not of this dialect.
    """
    frame = Frame(resources, inputs)
    values: dict[Value, Array] = {}
    outputs: dict[str, Array] = {}
    for op in module.body.ops:
        if op.name == "builtin.resource":
            continue
        arguments = [values[value] for value in op.operands]
        if op.name == "graph.output":
            outputs[str(op.attrs["name"])] = arguments[0]
            continue
        values[op.result] = evaluate_op(op, arguments, frame)
    return outputs


def evaluate_op(op: Op, arguments: list[Array], frame: Frame) -> Array:
    """The result of one op on `arguments`, in the shape and element type it declares. Raises InputError otherwise."""
    function = FUNCTIONS.get(op.name)
    if function is None:
        raise InputError(f"{op.name} has no meaning as a graph op", code="unsupported-op", where=str(op.loc))
    wide = [array.astype(np.float32) if array.dtype == np.float16 else array for array in arguments]
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(function(op, wide, frame))
    except (ValueError, IndexError) as error:
        raise InputError(f"{op.name}: {error}", code="shape-mismatch", where=str(op.loc)) from None
    if result.shape != frame.shape(op.result):
        raise InputError(
            f"{op.name} gives shape {result.shape}, declared as {frame.shape(op.result)}",
            code="shape-mismatch",
            where=str(op.loc),
        )
    return result.astype(NUMPY_DTYPES[tensor_type(op.result).dtype], copy=False)


def _where(value: Value) -> str:
    return str(value.op.loc) if value.op else ""


def _input(op: Op, _: list[Array], frame: Frame) -> Array:
    name, declared = str(op.attrs["name"]), tensor_type(op.result)
    if name not in frame.inputs:
        known = ", ".join(sorted(frame.inputs)) or "none"
        raise InputError(f"input {name!r} is missing; given: {known}", code="missing-input", where=name)
    array = np.asarray(frame.inputs[name])
    if array.dtype != NUMPY_DTYPES[declared.dtype]:
        raise InputError(f"input {name!r} is {array.dtype}, wanted {declared.dtype}", code="wrong-dtype", where=name)
    if array.ndim != len(declared.shape):
        raise InputError(
            f"input {name!r} has shape {array.shape}, wanted {declared.shape}", code="wrong-shape", where=name
        )
    for dim, size in zip(declared.shape, array.shape, strict=True):
        wanted = frame.dims.setdefault(dim, size) if isinstance(dim, str) else dim
        if wanted != size:
            raise InputError(f"input {name!r}: {dim} is {wanted}, not {size}", code="wrong-shape", where=name)
    return array


def _constant(op: Op, _: list[Array], frame: Frame) -> Array:
    return frame.resources.get(op.attrs["value"].name)  # type: ignore[union-attr]


def _shape_value(op: Op, _: list[Array], frame: Frame) -> Array:
    shape = frame.shape(op.result)
    dtype = NUMPY_DTYPES[tensor_type(op.result).dtype]
    causal = np.tri(*shape[-2:], dtype=np.bool_) if len(shape) > 1 else np.ones(shape, np.bool_)
    kinds: dict[str, Callable[[], Array]] = {
        "positions": lambda: np.arange(shape[-1]),
        "causal": lambda: causal,
        "causal_additive": lambda: np.where(causal, dtype(0), np.finfo(dtype).min),
        "all_true": lambda: np.ones((), np.bool_),
        "zeros": lambda: np.zeros((), dtype),
    }
    return np.broadcast_to(kinds[str(op.attrs["kind"])](), shape)


def _gather(op: Op, arguments: list[Array], _: Frame) -> Array:
    table, ids = arguments
    if ids.size and not (-len(table) <= ids.min() and ids.max() < len(table)):
        raise InputError(
            f"an index in [{ids.min()}, {ids.max()}] is outside the {len(table)} rows of the table",
            code="index-out-of-range",
            where=str(op.loc),
        )
    return np.asarray(table[ids])


def _matmul(op: Op, arguments: list[Array], _: Frame) -> Array:
    a, b = arguments
    return np.asarray(a @ (np.swapaxes(b, -1, -2) if op.attrs["transpose_b"] else b))


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(erf, otypes=[np.float64])(x), np.float32)


def _gelu_tanh(x: Array) -> Array:
    inner = np.float32(sqrt(2 / pi)) * (x + np.float32(0.044715) * x * x * x)
    return np.asarray(np.float32(0.5) * x * (1 + np.tanh(inner)))


UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "neg": np.negative,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "reciprocal": lambda x: 1 / x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": _erf,
    "gelu_erf": lambda x: np.float32(0.5) * x * (1 + _erf(x * np.float32(sqrt(0.5)))),
    "gelu_tanh": _gelu_tanh,
}


def _divide(a: Array, b: Array) -> Array:
    """Floats divide; integers truncate towards zero."""
    return np.asarray(a / b if a.dtype.kind == "f" else np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))


BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _divide,
    "pow": np.power,
    "max": np.maximum,
    "min": np.minimum,
}
REDUCE: dict[str, Callable[..., Array]] = {"mean": np.mean, "sum": np.sum, "max": np.max}


def _reduce(op: Op, arguments: list[Array], _: Frame) -> Array:
    return REDUCE[str(op.attrs["fn"])](arguments[0], axis=integers(op, "axes"), keepdims=op.attrs["keepdims"])


def softmax(x: Array) -> Array:
    """Softmax over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def _layer_norm(op: Op, arguments: list[Array], _: Frame) -> Array:
    x, scale, bias = arguments
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + np.float32(number(op, "epsilon"))) * scale + bias)


def _attention(op: Op, arguments: list[Array], _: Frame) -> Array:
    heads, head_dim = integer(op, "heads"), integer(op, "head_dim")
    # [batch, seq, heads*head_dim] -> [batch, heads, seq, head_dim]
    q, k, v = (x.reshape(*x.shape[:2], heads, head_dim).transpose(0, 2, 1, 3) for x in arguments)
    scores = np.multiply(q @ k.transpose(0, 1, 3, 2), number(op, "scale"), dtype=np.float32)
    if op.attrs["causal"]:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=np.bool_), scores, np.float32(-np.inf))
    y = softmax(scores) @ v
    return np.asarray(y.transpose(0, 2, 1, 3).reshape(arguments[0].shape))


def _slice(op: Op, arguments: list[Array], _: Frame) -> Array:
    axis, start, end = (integer(op, key) for key in ("axis", "start", "end"))
    return arguments[0][(slice(None),) * axis + (slice(start, end),)]


def _reshape(op: Op, arguments: list[Array], frame: Frame) -> Array:
    shape = frame.shape(op.result)
    if prod(shape) != arguments[0].size:
        raise ValueError(f"{arguments[0].shape} has not the elements of {shape}")
    return arguments[0].reshape(shape)


FUNCTIONS: dict[str, Callable[[Op, list[Array], Frame], Array]] = {
    "graph.input": _input,
    "graph.constant": _constant,
    "graph.shape_value": _shape_value,
    "graph.gather": _gather,
    "graph.matmul": _matmul,
    "graph.unary": lambda op, args, _: UNARY[str(op.attrs["fn"])](*args),
    "graph.binary": lambda op, args, _: BINARY[str(op.attrs["fn"])](*args),
    "graph.where": lambda _op, args, _: np.where(*args),
    "graph.reduce": _reduce,
    "graph.softmax": lambda _op, args, _: softmax(*args),
    "graph.layer_norm": _layer_norm,
    "graph.attention": _attention,
    "graph.reshape": _reshape,
    "graph.transpose": lambda op, args, _: np.transpose(args[0], integers(op, "perm")),
    "graph.slice": _slice,
    "graph.concat": lambda op, args, _: np.concatenate(args, axis=integer(op, "axis")),
    "graph.expand": lambda op, args, frame: np.broadcast_to(args[0], frame.shape(op.result)),
    "graph.cast": lambda _op, args, _: args[0],
}
