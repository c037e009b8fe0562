"""fold-constants: what depends on small constants only is computed now. Weights are never read, let alone copied."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from compiler.dialects import graph
from compiler.dialects.graph import tensor_type
from compiler.graph_interpreter import FUNCTIONS, Frame, evaluate_op
from compiler.ir.core import Op, Value
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.patterns import SMALL, Site, apply_rules, constant


def fold(op: Op, site: Site) -> Value | None:
    """An op on constants -> its value, if that and they are small."""
    if op.name not in FUNCTIONS or not op.operands or _is_weight_transpose(op):
        return None
    sizes = [dim for dim in tensor_type(op.result).shape if isinstance(dim, int)]
    if len(sizes) < len(tensor_type(op.result).shape) or prod(sizes) > SMALL:
        return None
    arguments = [constant(value, site.resources) for value in op.operands]
    known = [array for array in arguments if array is not None]
    if len(known) < len(arguments):
        return None
    result = evaluate_op(op, known, Frame(site.resources, {}))
    return site.build_constant(op, result, tensor_type(op.result).dtype)


def _is_weight_transpose(op: Op) -> bool:
    """Does `op` only feed products? Then `simplify` makes it their `transpose_b`, and a tied weight stays one."""
    return graph.transpose_def.matches(op) and all(graph.matmul_def.matches(user) for user in op.result.users)


def drop_unit_axes(op: Op, site: Site) -> Value | None:
    """A constant operand loses leading axes of size 1, which broadcasting puts back: x + [1, 1, n] -> x + [n]."""
    if not graph.binary_def.matches(op):
        return None
    operands = list(op.operands)
    for index, value in enumerate(op.operands):
        array = constant(value, site.resources)
        keeps_shape = tensor_type(op.operands[1 - index]).shape == tensor_type(op.result).shape
        if array is None or array.shape[:1] != (1,) or not keeps_shape:
            continue
        while array.shape[:1] == (1,):
            array = array[0]
        operands[index] = site.build_constant(op, array, tensor_type(value).dtype)
        return site.build(op, graph.binary_def, *operands, type=op.result.type, fn=op.attrs["fn"])
    return None


RULES = (fold, drop_unit_axes)


@register
@dataclass(frozen=True)
class FoldConstants(Pass):
    name = "fold-constants"
    summary = "compute what depends on small constants only"

    def run(self, module: Op, ctx: PassContext) -> None:
        apply_rules(module, RULES, ctx.resources)
