"""sink-reshapes: a reshape that merges leading axes moves below ops that do not care, until its inverse meets it.

Exporters write a linear layer on [batch, seq, k] as reshape to [batch*seq, k], matmul, reshape back. Moving the first
reshape down leaves the matmul on [batch, seq, k], and two reshapes in a row, which `simplify` joins.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.dialects import graph
from compiler.dialects.graph import integer, integers, tensor_type
from compiler.dims import Dim
from compiler.ir.core import Op, TensorType, Value
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.patterns import Site, apply_rules, producer

Shape = tuple[Dim, ...]


@register
@dataclass(frozen=True)
class SinkReshapes(Pass):
    name = "sink-reshapes"
    summary = "undo the merging of batch and sequence around linear layers"

    def run(self, module: Op, ctx: PassContext) -> None:
        apply_rules(module, [sink], ctx.resources)


def sink(op: Op, site: Site) -> Value | None:
    """`op` done on the unmerged tensors and merged afterwards, if its operands are merged and it allows that."""
    merged = [_merged_axes(value) for value in op.operands]
    if graph.binary_def.matches(op):
        # What has fewer axes than the result is broadcast along the merged one: it is no part of the merge.
        merged = [None if _is_shared(value, op) else axes for axes, value in zip(merged, op.operands, strict=True)]
    leading = next((axes for axes in merged if axes is not None), None)
    return _sunk(op, merged, leading, site) if leading is not None and _allows(op, merged, leading) else None


def _merged_axes(value: Value) -> Shape | None:
    """The axes that a reshape merged into the first axis of `value` (the other axes unchanged), or None."""
    reshape = producer(value, graph.reshape_def)
    if reshape is None:
        return None
    before, after = tensor_type(reshape.operands[0]).shape, tensor_type(value).shape
    kept = len(after) - 1
    if len(before) <= len(after) or before[len(before) - kept :] != after[1:]:
        return None
    return before[: len(before) - kept]


def _allows(op: Op, merged: list[Shape | None], leading: Shape) -> bool:
    """Does `op` treat the merged axis as so many independent rows, in every operand that has it?"""
    rank = len(tensor_type(op.operands[0]).shape)
    match op.name:
        case "graph.unary" | "graph.cast":
            return True
        case "graph.softmax":
            return rank > 1
        case "graph.layer_norm":
            return rank > 1 and merged[1:] == [None, None]
        case "graph.gather":
            return merged[0] is None
        case "graph.slice":
            return op.attrs["axis"] != 0
        case "graph.transpose":
            return integers(op, "perm")[0] == 0
        case "graph.reduce":
            return all(-rank < axis < 0 for axis in integers(op, "axes")) and bool(op.attrs["keepdims"])
        case "graph.binary":
            return all(
                axes == leading or _is_shared(value, op) for axes, value in zip(merged, op.operands, strict=True)
            )
        case "graph.matmul":
            a, b = merged
            is_linear = a is not None and b is None and len(tensor_type(op.operands[1]).shape) == 2
            return is_linear or (a == b and rank > 2)
    return False


def _is_shared(value: Value, op: Op) -> bool:
    """Is `value` broadcast along the first axis of the result, whatever stands in front?"""
    return len(tensor_type(value).shape) < len(tensor_type(op.result).shape)


def _sunk(op: Op, merged: list[Shape | None], leading: Shape, site: Site) -> Value:
    operands = [
        value if axes is None or value.op is None else value.op.operands[0]
        for value, axes in zip(op.operands, merged, strict=True)
    ]
    shift = len(leading) - 1
    attrs = dict(op.attrs)
    if "perm" in attrs:
        attrs["perm"] = (*range(shift), *(axis + shift for axis in integers(op, "perm")))
    if "axis" in attrs:
        attrs["axis"] = integer(op, "axis") + shift
    result = tensor_type(op.result)
    wide = TensorType((*leading, *result.shape[1:]), result.dtype)
    moved = site.rewriter.insert_before(op, Op(op.name, operands, [wide], attrs, loc=op.loc))
    return site.build(op, graph.reshape_def, moved.result, type=result)
