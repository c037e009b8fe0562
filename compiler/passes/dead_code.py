"""dead-code: what no output needs goes, and with it the constants nobody reads."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.dialects import graph
from compiler.ir.core import Op
from compiler.ir.passes import Pass, PassContext, register
from compiler.ir.rewrite import eliminate_dead


@register
@dataclass(frozen=True)
class DeadCode(Pass):
    name = "dead-code"
    summary = "remove what no output needs"

    def run(self, module: Op, ctx: PassContext) -> None:
        # An input is part of the model's interface, read or not.
        eliminate_dead(module, side_effects={graph.input_def.name})
