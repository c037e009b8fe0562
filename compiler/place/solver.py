"""Exact placement with CP-SAT: some kernels free to move and turn, the others fixed.

One worker, a fixed seed and a limit in deterministic time: the same model gives the same answer on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ortools.sat.python import cp_model

from compiler.floorplan import Footprint, Placed
from compiler.place.constraints import common
from compiler.place.constructive import distinct_orientations
from compiler.place.wire import Pin, Wire

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Answer:
    """What CP-SAT said: `status` by its name; `places` by kernel index (empty if none were found)."""

    status: str
    places: dict[int, Placed]
    objective: int
    bound: int


@dataclass(frozen=True)
class _Movable:
    """The variables of a kernel that may move: corner, and one boolean for each distinct orientation."""

    x: Any
    y: Any
    turned: list[Any]
    orientations: list[Any]
    across: Any  # interval in x, with the margin
    down: Any


def solve(
    kernels: Sequence[Footprint],
    movable: Sequence[int],
    domain: Box,
    blocked: Sequence[Box],
    wiring: Sequence[Wire],
    hints: Sequence[Placed],
    *,
    margin: int,
    first: int,
    seed: int,
    limit: float,
    seconds: float | None = None,
    regions: Mapping[int, Box] | None = None,
) -> Answer:
    """Place the kernels `movable` inside `domain` (x, y, columns, rows), gaps >= `margin`.

    A kernel widened by the margin to the east and south stays clear of all `blocked`, which must be disjoint, and
    inside the kernel's own box in `regions`, if it has one.

    Minimises the cost of `wiring` (without it: any legal placement), where kernels that do not move stand as in
    `hints`, which also start the search. Kernels that are not host ports stand at x >= `first`. `limit` is in
    deterministic time, `seconds` of wall clock.
    """
    model = cp_model.CpModel()
    own = {index: common(domain, regions[index]) if regions and index in regions else domain for index in movable}
    parts = {index: _declare(model, kernels[index], index, own[index], wiring, first, margin) for index in movable}
    horizontal = [part.across for part in parts.values()]
    vertical = [part.down for part in parts.values()]
    for x, y, w, h in blocked:
        horizontal.append(model.new_fixed_size_interval_var(x, w, ""))
        vertical.append(model.new_fixed_size_interval_var(y, h, ""))
    model.add_no_overlap_2d(horizontal, vertical)
    _minimise(model, kernels, parts, wiring, hints, domain)
    for index, part in parts.items() if hints else ():
        _hint(model, part, hints[index])
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = limit
    if seconds is not None:
        solver.parameters.max_time_in_seconds = seconds
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Answer(solver.status_name(status), {}, 0, 0)
    places = {index: _read(solver, part) for index, part in parts.items()}
    objective, bound = round(solver.objective_value), round(solver.best_objective_bound)
    return Answer(solver.status_name(status), places, objective, bound)


def _declare(
    model: cp_model.CpModel,
    kernel: Footprint,
    index: int,
    domain: Box,
    wiring: Sequence[Wire],
    first: int,
    margin: int,
) -> _Movable:
    x0, y0, columns, rows = domain
    pins = {tuple(pin[1:]) for wire in wiring for pin in (wire.source, wire.sink) if pin[0] == index}
    orientations = distinct_orientations(kernel, tuple((col, row) for col, row in sorted(pins)))
    turned = [model.new_bool_var("") for _ in orientations]
    model.add_exactly_one(turned)
    transposed = model.new_bool_var("")
    model.add(transposed == sum(var for o, var in zip(orientations, turned, strict=True) if o.transposed))
    width = kernel.cols + (kernel.rows - kernel.cols) * transposed
    height = kernel.rows + (kernel.cols - kernel.rows) * transposed
    lowest, highest = (x0, x0) if kernel.edge else (max(x0, first), x0 + columns - 1)
    x, y = model.new_int_var(lowest, highest, ""), model.new_int_var(y0, y0 + rows - 1, "")
    # An interval's end must be affine in one variable. The margin behind the last kernel may lie outside.
    east = model.new_int_var(x0, x0 + columns + margin, "")
    south = model.new_int_var(y0, y0 + rows + margin, "")
    model.add(east == x + width + margin)
    model.add(south == y + height + margin)
    across = model.new_interval_var(x, width + margin, east, "")
    down = model.new_interval_var(y, height + margin, south, "")
    return _Movable(x, y, turned, orientations, across, down)


def _minimise(
    model: cp_model.CpModel,
    kernels: Sequence[Footprint],
    parts: dict[int, _Movable],
    wiring: Sequence[Wire],
    places: Sequence[Placed],
    domain: Box,
) -> None:
    """For each wire with a movable end, variables for |dx| and |dy|, which the objective keeps down."""
    reach = sum(domain) + sum(place.x + place.y for place in places)
    terms = []
    for wire in wiring:
        if wire.source[0] not in parts and wire.sink[0] not in parts:
            continue
        source, sink = (_position(kernels, parts, places, pin) for pin in (wire.source, wire.sink))
        for a, b in zip(source, sink, strict=True):
            distance = model.new_int_var(0, reach, "")
            model.add(distance >= a - b)
            model.add(distance >= b - a)
            terms.append(wire.weight * distance)
    if terms:
        model.minimize(sum(terms))


def _position(
    kernels: Sequence[Footprint], parts: dict[int, _Movable], places: Sequence[Placed], pin: Pin
) -> tuple[Any, Any]:
    """Fabric coordinates of a pin, as numbers or as linear expressions."""
    index, col, row = pin
    kernel = kernels[index]
    if index not in parts:
        return places[index].at(kernel, col, row)
    part = parts[index]
    offsets = [orientation.point(col, row, kernel.cols, kernel.rows) for orientation in part.orientations]
    dx = sum(offset[0] * var for offset, var in zip(offsets, part.turned, strict=True))
    dy = sum(offset[1] * var for offset, var in zip(offsets, part.turned, strict=True))
    return part.x + dx, part.y + dy


def _hint(model: cp_model.CpModel, part: _Movable, place: Placed) -> None:
    model.add_hint(part.x, place.x)
    model.add_hint(part.y, place.y)
    if place.orientation in part.orientations:
        for orientation, var in zip(part.orientations, part.turned, strict=True):
            model.add_hint(var, orientation == place.orientation)


def _read(solver: cp_model.CpSolver, part: _Movable) -> Placed:
    chosen = [bool(solver.value(var)) for var in part.turned].index(True)
    return Placed(solver.value(part.x), solver.value(part.y), part.orientations[chosen])
