"""Elementwise ops, and reductions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.dialects import graph
from compiler.ir.core import Op, TensorType, Value
from frontends.onnx.conversion import Conversion, Unsupported
from frontends.onnx.load import Node

Converter = Callable[[Conversion, Node], list[Value]]


def _unary(fn: str) -> Converter:
    def convert(c: Conversion, node: Node) -> list[Value]:
        x = c.operand(node.inputs[0])
        return [c.emit(graph.unary_def(x, types=[c.type_of(node.outputs[0])], loc=c.loc, fn=fn))]

    return convert


def _variadic(fn: str) -> Converter:
    """Two operands; or any number, folded from the left."""

    def convert(c: Conversion, node: Node) -> list[Value]:
        dtype = c.dtype(node.outputs[0])
        result, shapes = c.operand(node.inputs[0]), c.shapes(node.inputs[0])
        for name in node.inputs[1:]:
            shapes = tuple(np.broadcast_shapes(a, b) for a, b in zip(shapes, c.shapes(name), strict=True))
            type = c.type_for(shapes, dtype)
            result = c.emit(graph.binary_def(result, c.operand(name), types=[type], loc=c.loc, fn=fn))
        return [result]

    return convert


def gelu(c: Conversion, node: Node) -> list[Value]:
    fn = {"none": "gelu_erf", "tanh": "gelu_tanh"}.get(node.attribute("approximate", "none"))
    if fn is None:
        raise Unsupported("this approximation")
    return _unary(fn)(c, node)


def cast(c: Conversion, node: Node) -> list[Value]:
    x, type = c.operand(node.inputs[0]), c.type_of(node.outputs[0])
    return [x if x.type == type else c.emit(graph.cast_def(x, types=[type], loc=c.loc))]


def where(c: Conversion, node: Node) -> list[Value]:
    type = c.type_of(node.outputs[0])
    if node.inputs[0] in c.false and c.type_of(node.inputs[2]) == type:
        return [c.operand(node.inputs[2])]
    condition, a, b = (c.operand(name) for name in node.inputs)
    return [c.emit(graph.where_def(condition, a, b, types=[type], loc=c.loc))]


def is_nan(c: Conversion, node: Node) -> list[Value]:
    """torch's guard behind a softmax, against rows in which a mask hides everything: no mask we know does that."""
    if not _sees_something(c.operand(node.inputs[0]).op):
        raise Unsupported("of anything but a softmax whose mask hides no whole row")
    c.false.add(node.outputs[0])
    return [c.scalar(False, "bool")]


def _sees_something(softmax: Op | None) -> bool:
    """Does every row of this softmax have a score that is not masked? Our masks let a query see at least itself."""
    scores = softmax.operands[0].op if softmax is not None and graph.softmax_def.matches(softmax) else None
    if scores is None:
        return False
    if graph.where_def.matches(scores):
        mask, seen, _ = scores.operands
        return graph.shape_value_def.matches(mask.op) and not graph.constant_def.matches(seen.op)
    added = graph.binary_def.matches(scores) and scores.attrs["fn"] == "add"
    return added and any(graph.shape_value_def.matches(value.op) for value in scores.operands)


def identity(c: Conversion, node: Node) -> list[Value]:
    return [c.operand(node.inputs[0])]


def dropout(c: Conversion, node: Node) -> list[Value]:
    training = c.optional(node, 2)
    if training is not None and bool(c.known(training)):
        raise Unsupported("in training mode")
    only_first_output(node)
    return [c.operand(node.inputs[0])]


def only_first_output(node: Node) -> None:
    """Raise Unsupported if the node's further, optional outputs are asked for."""
    if any(node.outputs[1:]):
        raise Unsupported("with more than its first output")


def _reduce(fn: str) -> Converter:
    def convert(c: Conversion, node: Node) -> list[Value]:
        x, rank = c.operand(node.inputs[0]), c.rank(node.inputs[0])
        given = c.optional(node, 1)
        axes = node.attribute("axes") if given is None else c.known(given).tolist()
        if not axes and node.attribute("noop_with_empty_axes", 0):
            return [x]
        # Counted from the last axis, so that leading batch axes do not matter.
        counted = tuple(sorted(axis - rank if axis >= 0 else axis for axis in (axes or range(rank))))
        type = c.type_of(node.outputs[0])
        keepdims = bool(node.attribute("keepdims", 1))
        return [c.emit(graph.reduce_def(x, types=[type], loc=c.loc, fn=fn, axes=counted, keepdims=keepdims))]

    return convert


def softmax(c: Conversion, node: Node) -> list[Value]:
    x, rank = c.operand(node.inputs[0]), c.rank(node.inputs[0])
    # Before opset 13 all axes from `axis` on were one; for the last axis both mean the same.
    axis = node.attribute("axis", -1 if c.model.opset >= 13 else 1)
    if axis not in (-1, rank - 1):
        raise Unsupported("over an axis other than the last")
    return [c.emit(graph.softmax_def(x, types=[c.type_of(node.outputs[0])], loc=c.loc))]


def layer_normalization(c: Conversion, node: Node) -> list[Value]:
    only_first_output(node)
    if node.attribute("axis", -1) not in (-1, c.rank(node.inputs[0]) - 1):
        raise Unsupported("over more than the last axis")
    x, scale = c.operand(node.inputs[0]), c.operand(node.inputs[1])
    type = c.type_of(node.outputs[0])
    bias = c.optional(node, 2)
    shift = c.operand(bias) if bias else _zeros_like(c, scale)
    epsilon = float(node.attribute("epsilon", 1e-5))
    return [c.emit(graph.layer_norm_def(x, scale, shift, types=[type], loc=c.loc, epsilon=epsilon))]


def _zeros_like(c: Conversion, value: Value) -> Value:
    assert isinstance(value.type, TensorType)
    if any(isinstance(dim, str) for dim in value.type.shape):
        raise Unsupported("with a scale of varying size")
    return c.constant(np.zeros([int(dim) for dim in value.type.shape]), value.type.dtype)


ELEMENTWISE: dict[str, Converter] = {
    **{
        op: _unary(op.lower())
        for op in ("Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Relu", "Tanh", "Sigmoid", "Erf")
    },
    **{op: _variadic(op.lower()) for op in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min")},
    "Sum": _variadic("add"),
    "Gelu": gelu,
    "Cast": cast,
    "Where": where,
    "IsNaN": is_nan,
    "Identity": identity,
    "Dropout": dropout,
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "ReduceMax": _reduce("max"),
    "Softmax": softmax,
    "LayerNormalization": layer_normalization,
}
