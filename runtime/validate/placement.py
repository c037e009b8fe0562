"""Rule a: blocks lie inside the usable rectangle, on live cores, do not overlap, and agree with the core table."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from runtime import isa
from runtime.image import CORE, ROUTE, Image
from runtime.tables import Array, core_blocks, core_positions, expand_routes
from runtime.validate.report import Report, at


def check_tables(image: Image, report: Report) -> bool:
    """Whether the tables are consistent enough for every other rule to index them."""
    if image.cores.dtype != CORE or image.routes.dtype != ROUTE:
        report.add("table-type", "the core or route table has another record type")
        return False
    first = 0
    for block in image.blocks:
        size = block.rows * block.cols
        if block.first != first or block.rows < 1 or block.cols < 1 or not 0 <= block.orientation.code < 8:
            report.add(
                "block-table",
                f"{block.rows} x {block.cols} cores starting at number {block.first}; expected to start at {first}",
                f"block {block.name}",
            )
            return False
        first += size
    if first != len(image.cores):
        report.add("block-table", f"blocks have {first} cores, the core table has {len(image.cores)}")
        return False
    programs = image.cores["program"]
    wrong = np.flatnonzero((programs < -1) | (programs >= len(image.programs)))
    for core in wrong:
        report.add("no-program", f"there is no program {programs[core]}", f"core number {core}")
    return not len(wrong) and _queue_numbers(image, report)


def _queue_numbers(image: Image, report: Report) -> bool:
    """Every program names queues, registers and FIFOs that exist at all."""
    before = report.counts.total()
    for program in image.programs:
        for task in program.tasks:
            for operand in (o for instr in isa.walk(task.body) for o in isa.operands(instr)):
                limits = {
                    isa.In: ("queue", isa.INPUT_QUEUES),
                    isa.Out: ("queue", isa.OUTPUT_QUEUES),
                    isa.Fifo: ("fifo", len(program.fifos)),
                }
                name, limit = limits.get(type(operand), ("", 0))
                if name and not 0 <= getattr(operand, name) < limit:
                    where = f"program {program.name} task {task.name}"
                    report.add("no-such-queue", f"{type(operand).__name__} {getattr(operand, name)}", where)
    return report.counts.total() == before


def check_placement(image: Image, report: Report) -> None:
    """Blocks inside the usable rectangle and disjoint."""
    left, top, columns, rows = image.target.usable
    for block in image.blocks:
        width, height = block.size
        inside = left <= block.x <= left + columns - width and top <= block.y <= top + rows - height
        if not inside:
            report.add(
                "block-outside",
                f"{width} x {height} cores at {at(block.x, block.y)} leave the usable rectangle "
                f"{columns} x {rows} at {at(left, top)}",
                f"block {block.name}",
            )
    x, y = core_positions(image)
    owner = core_blocks(image)
    order = np.lexsort((owner, x, y))
    same = (np.diff(x[order]) == 0) & (np.diff(y[order]) == 0)
    clashes = {(int(owner[order[i]]), int(owner[order[i + 1]])): int(order[i]) for i in np.flatnonzero(same)}
    for (a, b), core in sorted(clashes.items()):
        message = f"overlaps block {image.blocks[b].name} at {at(int(x[core]), int(y[core]))}"
        report.add("block-overlap", message, f"block {image.blocks[a].name}")


def check_dead(image: Image, report: Report) -> None:
    """No core of a block, no router entry and no host lane is at a dead core."""
    columns, rows = image.target.fabric
    dead = np.zeros((rows, columns), bool)
    for x, y, w, h in image.target.defects:
        dead[y : y + h, x : x + w] = True
    _report_dead(core_positions(image), dead, "dead-core", "a block covers a dead core", report)
    _, route_x, route_y = expand_routes(image.routes)
    _report_dead((route_x, route_y), dead, "dead-router", "a route passes a dead router", report)
    lanes = [(lane.x, lane.y) for port in image.ports for lane in port.lanes]
    lane_x, lane_y = np.array(lanes, np.int64).reshape(-1, 2).T
    _report_dead((lane_x, lane_y), dead, "dead-router", "a host lane meets a dead router", report)


def _report_dead(where: tuple[Array, Array], dead: Array, code: str, message: str, report: Report) -> None:
    x, y = where
    on = (x >= 0) & (y >= 0) & (x < dead.shape[1]) & (y < dead.shape[0])
    places = np.unique(np.column_stack([y[on], x[on]])[dead[y[on], x[on]]], axis=0)
    told = places[: report.room(code)]
    for row, column in told:
        report.add(code, message, f"core {at(int(column), int(row))}")
    report.add_untold(code, len(places) - len(told))


def check_bindings(image: Image, report: Report) -> None:
    """Queues of a core: only usable numbers and colours, one queue per colour and direction."""
    x, y = core_positions(image)
    target = image.target
    for field, allowed, word in (("inq", target.input_queues, "input"), ("outq", target.output_queues, "output")):
        bound = image.cores[field]
        forbidden = [q for q in range(bound.shape[1]) if q not in allowed]
        for core, i in np.argwhere(bound[:, forbidden] >= 0):
            report.add("queue-reserved", f"{word} queue {forbidden[i]} is not for programs", _core(x, y, core))
        for core, q in np.argwhere((bound < -1) | (bound >= target.colours)):
            message = f"{word} queue {q} is bound to colour {bound[core, q]}; programs have 0..{target.colours - 1}"
            report.add("colour-range", message, _core(x, y, core))
        ordered = np.sort(bound, axis=1)
        twice = np.any((np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] >= 0), axis=1)
        for core in np.flatnonzero(twice):
            colour = next(a for a, b in pairwise(ordered[core]) if a == b >= 0)
            report.add("colour-twice", f"two {word} queues are bound to colour {colour}", _core(x, y, core))


def _core(x: Array, y: Array, core: Any) -> str:
    return f"core {at(int(x[core]), int(y[core]))}"
