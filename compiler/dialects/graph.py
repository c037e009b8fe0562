"""`graph`: what is computed. Tensors with static or symbolic dimensions, close to ONNX, free of exporter habits.

The importer writes every op below; the fuse passes turn decomposed attention, layer norm and GELU into the single ops
`graph.attention`, `graph.layer_norm` and `graph.unary`; `lower-to-flow` accepts only the subset listed in
`compiler.passes.lower_to_flow`.
"""

from __future__ import annotations

from compiler.ir.core import IRError, Op, Symbol, TensorType, Value
from compiler.ir.defs import Attribute, define


def tensor_type(value: Value) -> TensorType:
    """The type of a `graph` value. Raises IRError if it is not a tensor."""
    if not isinstance(value.type, TensorType):
        raise IRError(f"a graph value is a tensor, not {value.type}")
    return value.type


def integer(op: Op, key: str) -> int:
    """An attribute that is an int. Raises IRError if it is not."""
    value = op.attrs[key]
    if not isinstance(value, int):
        raise IRError(f"{op.name} at {op.loc}: {key} is {value!r}, not an integer")
    return value


def number(op: Op, key: str) -> float:
    """An attribute that is a number. Raises IRError if it is not."""
    value = op.attrs[key]
    if not isinstance(value, int | float):
        raise IRError(f"{op.name} at {op.loc}: {key} is {value!r}, not a number")
    return float(value)


def integers(op: Op, key: str) -> tuple[int, ...]:
    """An attribute that is a list of ints. Raises IRError if it is not."""
    values = op.attrs[key]
    if not isinstance(values, tuple) or not all(isinstance(value, int) for value in values):
        raise IRError(f"{op.name} at {op.loc}: {key} is {values!r}, not a list of integers")
    return tuple(value for value in values if isinstance(value, int))


def _tensors(op: Op) -> None:
    for value in (*op.operands, *op.results):
        if not isinstance(value.type, TensorType):
            raise IRError(f"{op.name} at {op.loc}: works on tensors, not on {value.type}")


def _rank(op: Op) -> int:
    """Of what the op works on."""
    _tensors(op)
    return len(tensor_type(op.operands[0] if op.operands else op.result).shape)


def _transpose(op: Op) -> None:
    rank, perm = _rank(op), integers(op, "perm")
    if sorted(perm) != list(range(rank)):
        raise IRError(f"{op.name} at {op.loc}: perm = {list(perm)} is no order of {rank} axes")


def _axis(op: Op) -> None:
    rank, axis = _rank(op), integer(op, "axis")
    if not 0 <= axis < rank:
        raise IRError(f"{op.name} at {op.loc}: there is no axis {axis} among {rank}")


def _reduce(op: Op) -> None:
    rank = _rank(op)
    for axis in integers(op, "axes"):
        if not -rank <= axis < 0:
            raise IRError(f"{op.name} at {op.loc}: there is no axis {axis} among {rank}, counted from the last")


UNARY_FUNCTIONS = (
    "abs", "neg", "exp", "log", "sqrt", "reciprocal", "relu", "tanh", "sigmoid", "erf", "gelu_erf", "gelu_tanh",
)  # fmt: skip
BINARY_FUNCTIONS = ("add", "sub", "mul", "div", "pow", "max", "min")
REDUCTIONS = ("mean", "sum", "max")
# Values that depend on the shapes of the inputs only, as recognised by the importer (see frontends.onnx.shapes).
SHAPE_VALUES = (
    "positions",  # [.., seq] i64: 0, 1, 2, ... along the last axis
    "causal",  # [.., seq, seq] bool: True where key <= query
    "causal_additive",  # the same as f32: 0 where key <= query, a very large negative number elsewhere
    "all_true",  # bool, True everywhere
    "zeros",  # f32, 0 everywhere
)


input_def = define(
    "graph.input", "a graph input, by its ONNX name", results=("x",), attrs={"name": Attribute(str)}, verify=_tensors,
    named_by="name",
)  # fmt: skip
output_def = define(
    "graph.output", "a graph output, by its ONNX name", operands=("x",), attrs={"name": Attribute(str)}, verify=_tensors
)
constant_def = define(
    "graph.constant", "a constant tensor, held as a resource", results=("y",), attrs={"value": Attribute(Symbol)},
    verify=_tensors, named_by="value",
)  # fmt: skip
shape_value_def = define(
    "graph.shape_value",
    "a tensor that depends on the shapes of the inputs only; `kind` says what it is",
    results=("y",),
    attrs={"kind": Attribute(str, choices=SHAPE_VALUES)},
    verify=_tensors,
)
gather_def = define(
    "graph.gather", "rows of `table` (axis 0) picked by integer `ids`", operands=("table", "ids"), results=("y",),
    verify=_tensors,
)  # fmt: skip
matmul_def = define(
    "graph.matmul",
    "a @ b over the last two axes, with numpy's broadcasting; `transpose_b`: b is stored [n, k]",
    operands=("a", "b"),
    results=("y",),
    attrs={"transpose_b": Attribute(bool, default=False)},
    verify=_tensors,
)
unary_def = define(
    "graph.unary", "an elementwise function of a tensor", operands=("x",), results=("y",),
    attrs={"fn": Attribute(str, choices=UNARY_FUNCTIONS)}, verify=_tensors,
)  # fmt: skip
binary_def = define(
    "graph.binary", "an elementwise function of two tensors, broadcast as numpy does", operands=("a", "b"),
    results=("y",), attrs={"fn": Attribute(str, choices=BINARY_FUNCTIONS)}, verify=_tensors,
)  # fmt: skip
where_def = define(
    "graph.where", "a where `condition`, else b", operands=("condition", "a", "b"), results=("y",), verify=_tensors
)
reduce_def = define(
    "graph.reduce",
    "a reduction over `axes` (negative, counted from the last), which stay as size 1 if `keepdims`",
    operands=("x",),
    results=("y",),
    attrs={
        "fn": Attribute(str, choices=REDUCTIONS),
        "axes": Attribute(tuple),
        "keepdims": Attribute(bool, default=True),
    },
    verify=_reduce,
)
softmax_def = define("graph.softmax", "softmax over the last axis", operands=("x",), results=("y",), verify=_tensors)
layer_norm_def = define(
    "graph.layer_norm",
    "(x - mean) / sqrt(var + epsilon) * scale + bias over the last axis",
    operands=("x", "scale", "bias"),
    results=("y",),
    attrs={"epsilon": Attribute(float)},
    verify=_tensors,
)
attention_def = define(
    "graph.attention",
    "multi-head attention; q, k, v and y are [batch, seq, heads * head_dim], head h in columns h*head_dim ...",
    operands=("q", "k", "v"),
    results=("y",),
    attrs={"heads": Attribute(int), "head_dim": Attribute(int), "scale": Attribute(float), "causal": Attribute(bool)},
    verify=_tensors,
)
reshape_def = define(
    "graph.reshape", "the same elements in row-major order, in the result's shape", operands=("x",), results=("y",),
    verify=_tensors,
)  # fmt: skip
transpose_def = define(
    "graph.transpose", "axes permuted: y's axis i is x's axis perm[i]", operands=("x",), results=("y",),
    attrs={"perm": Attribute(tuple)}, verify=_transpose,
)  # fmt: skip
slice_def = define(
    "graph.slice", "elements [start, end) along `axis` (>= 0)", operands=("x",), results=("y",),
    attrs={"axis": Attribute(int), "start": Attribute(int), "end": Attribute(int)}, verify=_axis,
)  # fmt: skip
concat_def = define(
    "graph.concat", "joined along `axis` (>= 0)", operands=("xs*",), results=("y",), attrs={"axis": Attribute(int)},
    verify=_axis,
)  # fmt: skip
expand_def = define("graph.expand", "broadcast to the result's shape", operands=("x",), results=("y",), verify=_tensors)
cast_def = define(
    "graph.cast", "converted to the result's element type", operands=("x",), results=("y",), verify=_tensors
)
