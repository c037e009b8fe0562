"""flow + fabric -> core: every kernel writes its core programs, memory and routes; channels stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from compiler.dialects import core, flow
from compiler.floorplan import Placed
from compiler.ir.core import Block, Op, Region, Symbol
from compiler.ir.passes import Pass, PassContext, register
from compiler.kernels.base import IDLE, ZEROS, Binding, Kernel, rectangles
from compiler.kernels.port import Port
from compiler.passes.nets import Netlist
from compiler.passes.report import out_of_order
from compiler.program.to_ir import program_op
from compiler.resources import ResourceStore
from compiler.route.table import stack
from runtime.image import Init
from runtime.isa import Program


@register
@dataclass(frozen=True)
class Codegen(Pass):
    """Core programs for every kernel."""

    name: ClassVar[str] = "codegen"
    summary: ClassVar[str] = "write every core's program, memory contents and queue bindings"

    def run(self, module: Op, ctx: PassContext) -> None:
        _Codegen(module, ctx.resources).run()


class _Codegen:
    def __init__(self, module: Op, resources: ResourceStore) -> None:
        self.module = module
        self.resources = resources
        self.netlist = Netlist(module)
        self.colours = _channel_colours(module)
        self.programs: dict[Program, Symbol] = {}
        self.known: dict[int, tuple[Program, Symbol]] = {}  # by identity, which is quicker to hash; kept alive here
        self.blocks: list[Op] = []

    def run(self) -> None:
        places = self.netlist.places()
        for op, kernel, placed in zip(self.netlist.ops, self.netlist.kernels, places, strict=True):
            self.blocks.append(
                self.port(op, kernel, placed) if isinstance(kernel, Port) else self.block(op, kernel, placed)
            )
        channels = self.module.body.find("fabric.channel")
        for old in reversed([old for old in self.module.body.ops if old.dialect == "flow"]):
            old.erase()
        for channel in channels:
            self.module.body.ops.remove(channel)
        programs = [program_op(program, symbol.name) for program, symbol in self.programs.items()]
        for new in [*programs, *self.blocks, *channels]:
            self.module.body.append(new)

    def colour(self, end: str, lane: int) -> int:
        """Of the channel at a lane of `kernel.port`. Raises InputError if there is none."""
        if (end, lane) not in self.colours:
            raise out_of_order(f"no channel comes to {end} lane {lane}", "route")
        return self.colours[end, lane]

    def port(self, op: Op, kernel: Port, placed: Placed) -> Op:
        """The host's side of a stream: where each lane meets the fabric, and its colour."""
        name, a = flow.name_of(op), op.attrs
        end, lanes = next(iter((kernel.outputs() or kernel.inputs()).items()))
        entries = []
        for number, lane in enumerate(lanes):
            x, y = placed.at(kernel.footprint(name), lane.col, lane.row)
            colour = self.colour(f"{name}.{end}", number)
            start, size = kernel.blocks.start(number), kernel.blocks.size(number)
            entries.append((x, y, lane.outside, colour, start, size))
        limit: dict[str, Any] = {"limit": a["limit"]} if "limit" in a else {}
        return core.port_def(
            loc=op.loc, name=a["name"], direction=kernel.direction, dtype=a["dtype"], shape=a["shape"],
            features=kernel.blocks.features, lanes=tuple(entries), **limit,
        )  # fmt: skip

    def block(self, op: Op, kernel: Kernel, placed: Placed) -> Op:
        """A kernel's rectangle."""
        body, name = Block(), flow.name_of(op)
        constants = {
            key: Symbol(self.resources.add(array, f"{name}.{key}")) for key, array in kernel.constants().items()
        }
        constants[ZEROS] = Symbol(self.resources.add(np.zeros(1, np.float32), ZEROS))
        for role, rect in rectangles(kernel.roles()):
            if role is IDLE:
                continue
            program = kernel.program(role)
            body.append(core.run_def(rows=rect.rows, cols=rect.cols, program=self.program(program)))
            for init in kernel.inits(role, rect, program):
                body.append(self.init(init, constants))
        for bound in self.bindings(name, kernel):
            body.append(bound)
        footprint = kernel.footprint(name)
        for internal in footprint.colours:
            entry: dict[str, Any] = dict(zip(core.route_def.attrs, placed.route(footprint, internal), strict=True))
            body.append(core.route_def(**entry))
        remark: dict[str, Any] = {"remark": op.attrs["reason"]} if "reason" in op.attrs else {}
        return core.block_def(
            loc=op.loc, sym_name=name, kind=kernel.kind, x=placed.x, y=placed.y, rows=kernel.rows, cols=kernel.cols,
            orientation=placed.orientation.code, regions=[Region(body)], **remark,
        )  # fmt: skip

    def program(self, program: Program) -> Symbol:
        """The symbol of a program; equal programs are one, another of the same name gets a number."""
        known = self.known.get(id(program))
        if known is None:
            known = self.known[id(program)] = program, self.named(program)
        return known[1]

    def named(self, program: Program) -> Symbol:
        if program not in self.programs:
            taken = {symbol.name for symbol in self.programs.values()}
            name, number = program.name, 1
            while name in taken:
                number += 1
                name = f"{program.name}.{number}"
            self.programs[program] = Symbol(name)
        return self.programs[program]

    def init(self, init: Init, constants: dict[str, Symbol]) -> Op:
        tensor = constants.get(init.tensor)
        if tensor is None:
            tensor = Symbol(init.tensor)
        else:
            self.resources.declare(self.module, tensor.name)
        fields: dict[str, Any] = {key: getattr(init, key) for key in core.init_def.attrs}
        return core.init_def(**{**fields, "tensor": tensor})

    def bindings(self, name: str, kernel: Kernel) -> Iterable[Op]:
        """Queues to colours: those of channels by lane, those of internal routes by core."""
        for direction, ports in (("in", kernel.inputs()), ("out", kernel.outputs())):
            for port, lanes in ports.items():
                for number, lane in enumerate(lanes):
                    colour = self.colour(f"{name}.{port}", number)
                    for col, row, width, height in lane.hears or ((lane.col, lane.row, 1, 1),):
                        yield _bind(
                            row, col, height, width, Binding(direction, kernel.lane_queue(port, number), colour)
                        )
        for binding, runs in _bound_runs(kernel).items():
            for col, row, width, height in stack(runs):
                yield _bind(row, col, height, width, binding)


def _bound_runs(kernel: Kernel) -> dict[Binding, list[tuple[int, int, int]]]:
    """Runs (row, first column, width) of the cores with each internal binding, ascending."""
    found: dict[Binding, list[tuple[int, int, int]]] = {}
    for r in range(kernel.rows):
        for start, end in pairwise((*kernel.cuts(r), kernel.cols)):
            for binding in kernel.bindings(r, start):
                runs = found.setdefault(binding, [])
                if runs and runs[-1][0] == r and sum(runs[-1][1:]) == start:
                    runs[-1] = (r, runs[-1][1], end - runs[-1][1])
                else:
                    runs.append((r, start, end - start))
    return found


def _bind(row: int, col: int, height: int, width: int, binding: Binding) -> Op:
    return core.bind_def(
        rows=(row, row + height), cols=(col, col + width),
        direction=binding.direction, queue=binding.queue, colour=binding.colour,
    )  # fmt: skip


def _channel_colours(module: Op) -> dict[tuple[str, int], int]:
    """Colour of every (kernel.port, lane)."""
    colours: dict[tuple[str, int], int] = {}
    for op in module.body.find("fabric.channel"):
        a = op.attrs
        sinks, lane, colour = a["sinks"], a["lane"], a["colour"]
        assert isinstance(sinks, tuple) and isinstance(lane, int) and isinstance(colour, int)
        for end in (a["source"], *sinks):
            colours[str(end), lane] = colour
    return colours
