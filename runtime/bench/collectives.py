"""Reductions and broadcasts on the cycle machine.

*Cycles* count as in the reduce paper (HPDC 2024): from the issue of the first element, cores having started and set up
their first instruction, to the end of the cycle in which the last element is added at the root, or received.
"""

from __future__ import annotations

from typing import Any

from runtime.bench import plans
from runtime.bench.layout import DATA, Layout, Place
from runtime.bench.measure import Measured
from runtime.bench.plans import Plan, Stage
from runtime.bench.star import star
from runtime.bench.vectors import check, first_vector, own, total, vector_layout
from runtime.errors import InputError
from runtime.geometry import EAST, NORTH, RAMP, SOUTH, WEST, bit
from runtime.isa import Binary, In, Instr, Mov, Out
from runtime.target import Target


def _stage(layout: Layout, place: Place, stage: Stage, words: int) -> list[Instr]:
    mine = own(words)
    queues = [In(layout.input(place, colour), words) for colour in stage.ins]
    out = mine if stage.out is None else Out(layout.output(place, stage.out), words)
    if not queues:
        return [Mov(out, mine)]
    body: list[Instr] = [Binary("add", mine, mine, queue) for queue in queues]
    if stage.fresh:
        body[0] = Mov(mine, queues[0])
    body[-1] = Mov(out, queues[-1]) if isinstance(body[-1], Mov) else Binary("add", out, mine, queues[-1])
    return body


def planned(plan: Plan, words: int, base: Target) -> Layout:
    """Cores that carry out a plan on vectors of so many words."""
    layout = vector_layout(plan.cols, plan.rows, words, base)
    for colour, source, reader in plan.wires:
        layout.line(colour, source, reader)
    for place, stages in plan.stages.items():
        body = [instr for stage in stages for instr in _stage(layout, place, stage, words)]
        if not stages[0].ins:
            body.append(layout.stop(place))
        layout.core(place, body)
    return layout


def _reduce(plan: Plan, words: int, base: Target) -> dict[str, Any]:
    measured = Measured(planned(plan, words, base).image())
    root = plan.root[1] * plan.cols + plan.root[0]
    check(measured.memory(root, DATA, words), total(plan.cols * plan.rows, words))
    return {"cycles": int(measured.ends()[root]) - measured.startup, **measured.report()}


def reduce(algorithm: str, cores: int, words: int, group: int | None, base: Target) -> dict[str, Any]:
    """Reduce a vector of fp32 words over a row of cores: chain, tree, two-phase (with groups of `group`) or star.

    Raises InputError if it does not fit.
    """
    if algorithm == "star":
        return star(cores, words, base)
    if algorithm == "chain":
        return _reduce(plans.chain(cores), words, base)
    if algorithm == "tree":
        return _reduce(plans.tree(cores), words, base)
    group = group or max(2, round(cores**0.5))
    if group > cores:
        raise InputError(f"groups of {group} among {cores} cores", code="bench-size")
    return _reduce(plans.two_phase(cores, group), words, base)


def reduce_grid(algorithm: str, rows: int, cols: int, words: int, base: Target) -> dict[str, Any]:
    """Reduce over rows x cols cores to the north-west one: x-y or snake. Raises InputError if it does not fit."""
    return _reduce((plans.snake if algorithm == "snake" else plans.x_then_y)(cols, rows), words, base)


def broadcast_grid(rows: int, cols: int, words: int, base: Target) -> dict[str, Any]:
    """The north-west core's vector to all, as one multicast: along the first row and down every column.

    Raises InputError if it does not fit.
    """
    layout = vector_layout(cols, rows, words, base)
    mine = own(words)
    for x in range(cols):
        for y in range(rows):
            place, source = (x, y), (x, y) == (0, 0)
            takes = RAMP if source else WEST if y == 0 else NORTH
            gives = 0 if source else bit(RAMP)
            gives |= bit(EAST) if y == 0 and x + 1 < cols else 0
            gives |= bit(SOUTH) if y + 1 < rows else 0
            layout.route(place, 0, bit(takes), gives)
            if source:
                layout.core(place, [Mov(Out(layout.output(place, 0), words), mine), layout.stop(place)])
            else:
                layout.core(place, [Mov(mine, In(layout.input(place, 0), words))])
    measured = Measured(layout.image())
    for core in range(rows * cols):
        check(measured.memory(core, DATA, words), first_vector(words))
    return {"cycles": int(measured.ends().max()) - measured.startup, **measured.report()}
