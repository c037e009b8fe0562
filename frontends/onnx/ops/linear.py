"""Matrix products and fused attention."""

from __future__ import annotations

import math

from compiler.dialects import graph
from compiler.dialects.graph import tensor_type
from compiler.ir.core import TensorType, Value
from frontends.onnx.conversion import Conversion, Unsupported
from frontends.onnx.load import Node
from frontends.onnx.ops.elementwise import Converter, only_first_output


def matmul(c: Conversion, node: Node) -> list[Value]:
    if min(c.rank(name) for name in node.inputs) < 2:
        raise Unsupported("with an operand of one axis")
    a, b = (c.operand(name) for name in node.inputs)
    return [_product(c, a, b, c.type_of(node.outputs[0]))]


def gemm(c: Conversion, node: Node) -> list[Value]:
    """alpha * op(a) @ op(b) + beta * bias; torch writes alpha = beta = 1."""
    type = c.type_of(node.outputs[0])
    a, b = (c.operand(name) for name in node.inputs[:2])
    if node.attribute("transA", 0):
        rows, columns = tensor_type(a).shape
        a = c.emit(graph.transpose_def(a, types=[TensorType((columns, rows), type.dtype)], loc=c.loc, perm=(1, 0)))
    result = _product(c, a, b, type, transpose_b=bool(node.attribute("transB", 0)))
    result = _scaled(c, result, float(node.attribute("alpha", 1.0)))
    bias = c.optional(node, 2)
    if bias is None:
        return [result]
    shift = _scaled(c, c.operand(bias), float(node.attribute("beta", 1.0)))
    return [c.emit(graph.binary_def(result, shift, types=[type], loc=c.loc, fn="add"))]


def attention(c: Conversion, node: Node) -> list[Value]:
    """Opset 23's Attention, with as many key as query heads and no mask but a causal one."""
    only_first_output(node)
    if any(node.inputs[4:]) or node.attribute("softcap", 0.0):
        raise Unsupported("with a cache, padding lengths or softcap")
    q, k, v = node.inputs[:3]
    heads, head_dim = _heads(c, node, q)
    if (heads, head_dim) != _heads(c, node, k, "kv_num_heads") or _heads(c, node, v, "kv_num_heads")[1] != head_dim:
        raise Unsupported("with fewer key heads than query heads, or values of another size")
    scale = node.attribute("scale")
    flat = [_merge_heads(c, name) for name in (q, k, v)]
    y = c.emit(
        graph.attention_def(
            *flat,
            types=[flat[0].type],
            loc=c.loc,
            heads=heads,
            head_dim=head_dim,
            scale=1 / math.sqrt(head_dim) if scale is None else float(scale),
            causal=_is_causal(c, node),
        )
    )
    return [_split_heads(c, y, c.type_of(node.outputs[0]))]


def _product(c: Conversion, a: Value, b: Value, type: TensorType, *, transpose_b: bool = False) -> Value:
    """a @ b; a transposed constant is read as it is stored."""
    source = _transposed_constant(b)
    if source is not None and not transpose_b:
        b, transpose_b = source, True
    return c.emit(graph.matmul_def(a, b, types=[type], loc=c.loc, transpose_b=transpose_b))


def _transposed_constant(value: Value) -> Value | None:
    """The constant matrix of which `value` is the transpose, or None."""
    op = value.op
    if op is None or not graph.transpose_def.matches(op) or op.attrs["perm"] != (1, 0):
        return None
    return op.operands[0] if graph.constant_def.matches(op.operands[0].op) else None


def _scaled(c: Conversion, value: Value, factor: float) -> Value:
    if factor == 1.0:
        return value
    type = tensor_type(value)
    return c.emit(graph.binary_def(value, c.scalar(factor, type.dtype), types=[type], loc=c.loc, fn="mul"))


def _heads(c: Conversion, node: Node, name: str, attribute: str = "q_num_heads") -> tuple[int, int]:
    """Heads and columns per head of an operand [batch, heads, seq, dim] or [batch, seq, heads * dim]."""
    dims = c.dims(name)
    heads = dims[1] if len(dims) == 4 else node.attribute(attribute, 0)
    width = dims[-1]
    if not isinstance(heads, int) or not isinstance(width, int) or heads < 1:
        raise Unsupported("with heads of varying number or size")
    if len(dims) == 4:
        return heads, width
    if width % heads:
        raise Unsupported(f"with {width} columns for {heads} heads")
    return heads, width // heads


def _is_causal(c: Conversion, node: Node) -> bool:
    mask = c.optional(node, 3)
    kind = c.kind(mask) if mask else None
    if mask and kind not in ("causal", "causal_additive", "all_true", "zeros"):
        raise Unsupported("with a mask that is not causal")
    return bool(node.attribute("is_causal", 0)) or kind in ("causal", "causal_additive")


def _merge_heads(c: Conversion, name: str) -> Value:
    """[batch, heads, seq, dim] to [batch, seq, heads * dim]."""
    value = c.operand(name)
    dims = tensor_type(value).shape
    if len(dims) == 3:
        return value
    batch, heads, seq, dim = dims
    dtype = tensor_type(value).dtype
    swapped = graph.transpose_def(
        value, types=[TensorType((batch, seq, heads, dim), dtype)], loc=c.loc, perm=(0, 2, 1, 3)
    )
    merged = TensorType((batch, seq, int(heads) * int(dim)), dtype)
    return c.emit(graph.reshape_def(c.emit(swapped), types=[merged], loc=c.loc))


def _split_heads(c: Conversion, value: Value, type: TensorType) -> Value:
    """[batch, seq, heads * dim] to `type`: the same, or [batch, heads, seq, dim]."""
    if len(type.shape) == 3:
        return value
    batch, heads, seq, dim = type.shape
    split = graph.reshape_def(value, types=[TensorType((batch, seq, heads, dim), type.dtype)], loc=c.loc)
    return c.emit(graph.transpose_def(c.emit(split), types=[type], loc=c.loc, perm=(0, 2, 1, 3)))


LINEAR: dict[str, Converter] = {"MatMul": matmul, "Gemm": gemm, "Attention": attention}
