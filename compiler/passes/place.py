"""flow -> flow: give every kernel a position and an orientation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.ir.core import Op
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.nets import Netlist
from compiler.passes.report import note
from compiler.place.demands import from_attr, resolve
from compiler.place.placer import place


@register
@dataclass(frozen=True)
class Place(Pass):
    """Rectangles on the wafer: a constructive placement improved by CP-SAT over windows."""

    name: ClassVar[str] = "place"
    summary: ClassVar[str] = "put every kernel on the wafer, near those it talks to"

    seed: int = 0
    margin: int = 3  # free cores around every kernel, where the target has room: bundles of lanes turn there
    deterministic_limit: float = 12.0  # OR-tools' deterministic time, about seconds; 0: constructive placement only
    time_limit: float = 0.0  # seconds of wall clock after which the best so far is taken; 0: none

    def run(self, module: Op, ctx: PassContext) -> None:
        assert ctx.target is not None, "place needs a target"
        netlist = Netlist(module)
        names = [kernel.name for kernel in netlist.footprints]
        demands = from_attr(module.attrs.pop("constraints", None))
        constraints = resolve(demands, names, [op.loc.names for op in netlist.ops], ctx.target.usable)
        result = place(
            netlist.footprints,
            netlist.nets,
            ctx.target,
            seed=self.seed,
            margin=self.margin,
            deterministic_limit=self.deterministic_limit,
            time_limit=self.time_limit,
            constraints=constraints,
            progress=lambda done, total: ctx.progress("place: windows", done, total),
        )
        for op, placed in zip(netlist.ops, result.placed, strict=True):
            op.attrs.update(x=placed.x, y=placed.y, orientation=placed.orientation.code)
        note(
            module,
            "place",
            {
                "constructive_cost": result.constructive_cost,
                "cost": result.cost,
                "objective": result.objective,
                "bound": result.bound,
                **({} if result.gap is None else {"gap": result.gap}),
                "status": result.status,
                "box": tuple(result.box),
                "kernel_area": result.kernel_area,
                "margin": result.margin,
                **({"fixed": len(constraints.fixed)} if constraints.fixed else {}),
            },
        )
