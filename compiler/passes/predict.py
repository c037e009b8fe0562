"""flow -> flow: note what each kernel's closed form predicts, for whoever reads the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects import flow
from compiler.ir.core import Op
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.nets import Netlist
from compiler.passes.report import note


@register
@dataclass(frozen=True)
class Predict(Pass):
    """Cycles of every kernel: between two tokens, and from a lone token's first word in to its last word out."""

    name: ClassVar[str] = "predict"
    summary: ClassVar[str] = "note the cycles every kernel is predicted to take"

    def run(self, module: Op, ctx: PassContext) -> None:
        assert ctx.target is not None, "predict needs a target"
        netlist = Netlist(module)
        cycles = {
            flow.name_of(op): (kernel.interval(ctx.target), kernel.latency(ctx.target))
            for op, kernel in zip(netlist.ops, netlist.kernels, strict=True)
        }
        note(module, "cycles", cycles)
