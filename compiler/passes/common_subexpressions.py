"""common-subexpressions: of ops that compute the same from the same, the first stays."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.dialects import graph
from compiler.ir.core import Op
from compiler.ir.passes import Pass, PassContext, register


@register
@dataclass(frozen=True)
class CommonSubexpressions(Pass):
    name = "common-subexpressions"
    summary = "compute only once what is computed twice"

    def run(self, module: Op, ctx: PassContext) -> None:
        merge_equal_ops(module)


def merge_equal_ops(module: Op) -> None:
    """Redirect the readers of a repeated op to its first appearance, which takes over the location as well."""
    first: dict[object, Op] = {}
    for op in list(module.body.ops):
        if len(op.results) != 1 or op.regions or graph.input_def.matches(op):
            continue
        key = (op.name, op.operands, repr(sorted(op.attrs.items())), op.result.type)
        kept = first.setdefault(key, op)
        if kept is not op:
            kept.loc = kept.loc.merged(op.loc)
            op.replace_by(kept.result)
