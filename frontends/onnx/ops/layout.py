"""Ops that move elements: reshapes, transposes, slices, joins, lookups."""

from __future__ import annotations

from compiler.dialects import graph
from compiler.dialects.graph import tensor_type
from compiler.ir.core import TensorType, Value
from frontends.onnx.conversion import Conversion, Unsupported
from frontends.onnx.load import Node
from frontends.onnx.ops.elementwise import Converter
from frontends.onnx.probe import is_weight


def reshape(c: Conversion, node: Node) -> list[Value]:
    """Whatever spells a new shape; which one is known from the probes."""
    return [_reshaped(c, c.operand(node.inputs[0]), c.type_of(node.outputs[0]))]


def transpose(c: Conversion, node: Node) -> list[Value]:
    x, rank = c.operand(node.inputs[0]), c.rank(node.inputs[0])
    perm = tuple(node.attribute("perm") or reversed(range(rank)))
    if perm == tuple(range(rank)):
        return [x]
    return [c.emit(graph.transpose_def(x, types=[c.type_of(node.outputs[0])], loc=c.loc, perm=perm))]


def expand(c: Conversion, node: Node) -> list[Value]:
    x, type = c.operand(node.inputs[0]), c.type_of(node.outputs[0])
    return [x if x.type == type else c.emit(graph.expand_def(x, types=[type], loc=c.loc))]


def concat(c: Conversion, node: Node) -> list[Value]:
    xs = [c.operand(name) for name in node.inputs]
    type = c.type_of(node.outputs[0])
    axis = node.attribute("axis") % len(type.shape)
    return [c.emit(graph.concat_def(*xs, types=[type], loc=c.loc, axis=axis))]


def slice_(c: Conversion, node: Node) -> list[Value]:
    name = node.inputs[0]
    x, rank = c.operand(name), c.rank(name)
    starts, ends = (c.known_per_probe(bound) for bound in node.inputs[1:3])
    given_axes, given_steps = c.optional(node, 3), c.optional(node, 4)
    axes = c.known(given_axes).tolist() if given_axes else list(range(starts[0].size))
    if given_steps and any(step != 1 for step in c.known(given_steps).tolist()):
        raise Unsupported("with a step other than 1")
    for index, axis in enumerate(axes):
        sizes = [shape[axis] for shape in c.shapes(name)]
        bounds = [
            slice(int(s[index]), int(e[index])).indices(size)[:2]
            for s, e, size in zip(starts, ends, sizes, strict=True)
        ]
        x = _sliced(c, x, axis % rank, bounds, sizes)
    return [x]


def split(c: Conversion, node: Node) -> list[Value]:
    x = c.operand(node.inputs[0])
    axis = node.attribute("axis", 0) % c.rank(node.inputs[0])
    results, start = [], 0
    for name in node.outputs:
        size = c.dims(name)[axis]
        if not isinstance(size, int):
            raise Unsupported("along an axis of varying size")
        type = c.type_of(name)
        results.append(c.emit(graph.slice_def(x, types=[type], loc=c.loc, axis=axis, start=start, end=start + size)))
        start += size
    return results


def gather(c: Conversion, node: Node) -> list[Value]:
    """Rows of a table, or one index picked along any axis."""
    table, ids = node.inputs
    axis = node.attribute("axis", 0) % c.rank(table)
    weight = c.model.weights.get(table)
    is_table = weight is not None and is_weight(weight)
    if c.is_known(ids) and c.rank(ids) == 0 and not is_table:
        return [_picked(c, c.operand(table), axis, int(c.known(ids)), c.type_of(node.outputs[0]))]
    if axis != 0:
        raise Unsupported("of several indices along an axis other than the first")
    type = c.type_of(node.outputs[0])
    return [c.emit(graph.gather_def(c.operand(table), c.operand(ids), types=[type], loc=c.loc))]


def _reshaped(c: Conversion, x: Value, type: TensorType) -> Value:
    return x if x.type == type else c.emit(graph.reshape_def(x, types=[type], loc=c.loc))


def _sliced(c: Conversion, x: Value, axis: int, bounds: list[tuple[int, int]], sizes: list[int]) -> Value:
    """`bounds[p]` along `axis`, which has `sizes[p]` elements in probe p."""
    if all(bound == (0, size) for bound, size in zip(bounds, sizes, strict=True)):
        return x
    start, end = bounds[0]
    type = tensor_type(x)
    if len(set(bounds)) > 1 or not isinstance(type.shape[axis], int):
        raise Unsupported("of part of an axis of varying size")
    shape = (*type.shape[:axis], max(0, end - start), *type.shape[axis + 1 :])
    return c.emit(
        graph.slice_def(
            x, types=[TensorType(shape, type.dtype)], loc=c.loc, axis=axis, start=start, end=max(start, end)
        )
    )


def _picked(c: Conversion, x: Value, axis: int, index: int, type: TensorType) -> Value:
    size = tensor_type(x).shape[axis]
    if not isinstance(size, int):
        raise Unsupported("of one index along an axis of varying size")
    index %= size
    return _reshaped(c, _sliced(c, x, axis, [(index, index + 1)], [size]), type)


LAYOUT: dict[str, Converter] = {
    "Reshape": reshape,
    "Squeeze": reshape,
    "Unsqueeze": reshape,
    "Flatten": reshape,
    "Transpose": transpose,
    "Expand": expand,
    "Concat": concat,
    "Slice": slice_,
    "Split": split,
    "Gather": gather,
}
