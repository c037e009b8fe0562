"""flow -> flow: give every kernel a position and an orientation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from compiler.floorplan import Placed
from compiler.ir.core import Op
from compiler.ir.passes import Pass, PassContext, register
from compiler.passes.nets import Netlist
from compiler.passes.report import note
from compiler.place.constraints import Constraints
from compiler.place.demands import from_attr, resolve
from compiler.place.placer import place
from compiler.place.stacked import stack
from compiler.place.strips import Frame
from runtime.defects import Rect
from runtime.errors import InfeasibleError
from runtime.target import Target

PLACED_BY = 0.5  # share of a time limit after which a placement is not improved any more: routing needs the rest
INSTANT = 1e-6  # seconds in which nothing is improved


@register
@dataclass(frozen=True)
class Place(Pass):
    """Kernels stacked in the strips they were sized for; else a constructive placement improved by CP-SAT."""

    name: ClassVar[str] = "place"
    summary: ClassVar[str] = "put every kernel on the wafer, near those it talks to"

    seed: int = 0
    margin: int = 3  # free cores around every kernel, where the target has room: bundles of lanes turn there
    deterministic_limit: float = 12.0  # OR-tools' deterministic time, about seconds; 0: constructive placement only

    def run(self, module: Op, ctx: PassContext) -> None:
        assert ctx.target is not None, "place needs a target"
        netlist = Netlist(module)
        names = [kernel.name for kernel in netlist.footprints]
        demands = from_attr(module.attrs.pop("constraints", None))
        constraints = resolve(demands, names, [op.loc.names for op in netlist.ops], ctx.target.usable)
        frame = _frame(module)
        free = not (constraints.fixed or constraints.regions)
        if not (free and frame and self._stack(module, netlist, frame, constraints.keep_out, ctx.target)):
            self._search(module, netlist, constraints, ctx)

    @staticmethod
    def _stack(module: Op, netlist: Netlist, frame: Frame, keep_out: tuple[Rect, ...], target: Target) -> bool:
        """Whether the strips hold all kernels: keep-outs came after the sizes."""
        try:
            result = stack(
                netlist.footprints, netlist.nets, target, frame, keep_out=keep_out, beside=_beside(netlist, frame)
            )
        except InfeasibleError:
            return False
        _write(netlist, result.placed)
        columns, rows = result.box[2:]
        note(
            module,
            "place",
            {
                "method": "strips",
                "cost": result.wire,
                "bound": result.wire_bound,
                "longest_wire": result.longest,
                "longest_wire_net": result.longest_net,
                "box": tuple(result.box),
                "kernel_area": result.kernel_area,
                "utilisation_of_box": result.kernel_area / (columns * rows),
                "utilisation_of_target": result.kernel_area / target.cores,
                "strips": frame.count,
                "strip_width": frame.width,
                "strip_length": frame.length,
            },
        )
        return True

    def _search(self, module: Op, netlist: Netlist, constraints: Constraints, ctx: PassContext) -> None:
        """Where the user wants kernels somewhere, or nobody sized them for strips."""
        assert ctx.target is not None
        left = ctx.deadline.left(PLACED_BY)
        result = place(
            netlist.footprints,
            netlist.nets,
            ctx.target,
            seed=self.seed,
            margin=self.margin,
            deterministic_limit=self.deterministic_limit,
            time_limit=0.0 if math.isinf(left) else max(left, INSTANT),
            constraints=constraints,
            progress=lambda done, total: ctx.progress("place: windows", done, total),
        )
        _write(netlist, result.placed)
        note(
            module,
            "place",
            {
                "method": "search",
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


def _write(netlist: Netlist, places: Sequence[Placed]) -> None:
    for op, placed in zip(netlist.ops, places, strict=True):
        op.attrs.update(x=placed.x, y=placed.y, orientation=placed.orientation.code)


def _beside(netlist: Netlist, frame: Frame) -> dict[int, int]:
    """Relanes longer than a strip is wide: by index, the kernel whose lanes they merge."""
    found = {}
    for index, (op, kernel) in enumerate(zip(netlist.ops, netlist.kernels, strict=True)):
        if op.name == "flow.relane" and kernel.cols > frame.width:
            found[index] = netlist.nets[netlist.net_into(index)].source[0]
    return found


def _frame(module: Op) -> Frame | None:
    """The strips that size chose, if it ran."""
    strips = module.attrs.get("strips")
    if not isinstance(strips, Mapping):
        return None
    width, length, count = (int(str(strips[key])) for key in ("width", "length", "count"))
    return Frame(width, length, count)
