"""flow -> flow: note what each kernel's closed form predicts, for whoever reads the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects import flow
from compiler.ir.core import Attr, Op
from compiler.ir.passes import Pass, PassContext, register
from compiler.kernels.table import interval_of
from compiler.passes.nets import Netlist
from compiler.passes.report import note


@register
@dataclass(frozen=True)
class Predict(Pass):
    """Cycles of every kernel: between two tokens, and from a lone token's first word in to its last word out.

    Where a token comes several times, the first counts all its passes, the second one of them. Between which kernels it
    does is noted too.
    """

    name: ClassVar[str] = "predict"
    summary: ClassVar[str] = "note the cycles every kernel is predicted to take"

    def run(self, module: Op, ctx: PassContext) -> None:
        assert ctx.target is not None, "predict needs a target"
        netlist = Netlist(module)
        cycles = {
            flow.name_of(op): (interval_of(op, ctx.target), kernel.latency(ctx.target))
            for op, kernel in zip(netlist.ops, netlist.kernels, strict=True)
        }
        note(module, "cycles", cycles)
        if loops := _loops(netlist, {name: interval for name, (interval, _) in cycles.items()}):
            note(module, "loops", loops)


def _loops(netlist: Netlist, interval: Mapping[str, int]) -> dict[str, Attr]:
    """Of the kernels that several layers share, by gate: where they end, and the interval of the slowest for a pass."""
    found: dict[str, Attr] = {}
    inside: list[int] = []
    for op in netlist.ops:
        passes = flow.passes_of(op)
        inside = [] if op.name == "flow.gate" else [*inside, interval[flow.name_of(op)] // passes]
        if op.name == "flow.switch":
            gate = flow.name_of(flow.gate_of(op))
            found[gate] = {"switch": flow.name_of(op), "passes": passes, "pace_cycles": max(inside)}
    return found
