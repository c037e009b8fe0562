"""recover-positions: position embeddings that an exporter folded for a fixed length become look-ups again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.dialects import graph
from compiler.dialects.graph import tensor_type
from compiler.ir.core import Op, TensorType, Value
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.patterns import Site, apply_rules, constant, orders

MAX_TABLE = 1 << 26  # elements of a folded table of rows that may be read


@register
@dataclass(frozen=True)
class RecoverPositions(Pass):
    name = "recover-positions"
    summary = "look folded position embeddings up by position again"

    def run(self, module: Op, ctx: PassContext) -> None:
        apply_rules(module, [constant_rows], ctx.resources)


def constant_rows(op: Op, site: Site) -> Value | None:
    """x [batch, seq, n] + constant [seq, n] -> x + the constant's rows looked up by position."""
    if not graph.binary_def.matches(op) or op.attrs["fn"] != "add":
        return None
    for x, other in orders(op):
        shape = tensor_type(x).shape
        rows = constant(other, site.resources, MAX_TABLE)
        if len(shape) != 3 or rows is None or rows.ndim < 2 or rows.size != np.prod(rows.shape[-2:]):
            continue
        if rows.shape[-2:] != shape[1:] or x.type != op.result.type or rows.shape[-2] == 1:
            continue
        dtype = tensor_type(other).dtype
        table = site.build_constant(op, rows.reshape(rows.shape[-2:]), dtype, "position rows")
        positions = site.build(op, graph.shape_value_def, type=TensorType((1, shape[1]), "i64"), kind="positions")
        row = site.build(op, graph.gather_def, table, positions, type=TensorType((1, *shape[1:]), dtype))
        return site.build(op, graph.binary_def, x, row, type=op.result.type, fn="add")
    return None
