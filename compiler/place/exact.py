"""Exact improvement of a placement with CP-SAT: windows of kernels placed anew, and the whole under its own order.

Kernels that may move choose among alternative shapes, orientations included, none slower than the placement's
slowest. The objective is wire and adapters; the time is held. One worker, a fixed seed and deterministic time: the same
model gives the same answer on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ortools.sat.python import cp_model

from compiler.place.problem import Net, Placement, Problem, Rectangle, Shape, adapters, wire_length

SCALE = 1000  # of the objective: weights are rounded to thousandths


@dataclass(frozen=True)
class Answer:
    """A placement no worse than the one given, in wire and adapters, and the solver's proved bound of those terms."""

    placement: Placement
    status: str
    before: float
    after: float
    bound: float


@dataclass(frozen=True)
class _Part:
    """Variables of a kernel that may move: corner, size, and one boolean an alternative."""

    x: Any
    y: Any
    width: Any
    height: Any
    chosen: list[Any]
    shapes: Sequence[Shape]


def improve(
    problem: Problem,
    placement: Placement,
    choices: Mapping[int, Sequence[Shape]],
    *,
    ordered: bool,
    seconds: float,
    deterministic: float,
    seed: int,
) -> Answer:
    """Place the kernels of `choices` anew, each in one of its shapes; the others stay.

    `ordered`: every pair keeps the side by side or the one above the other it has now, which leaves a much simpler
    problem. The present shape must be among a kernel's choices, first.
    """
    model = cp_model.CpModel()
    parts = {v: _declare(model, problem, shapes) for v, shapes in choices.items()}
    if ordered:
        _keep_order(model, problem, placement, parts)
    else:
        _forbid_overlap(model, problem, placement, parts)
    terms = _wire_terms(model, problem, placement, parts) + _adapter_terms(model, problem, placement, parts)
    nets = [net for net in problem.nets if net.source in parts or net.sink in parts]
    before = _cost(problem, placement, nets)
    model.minimize(sum(terms))
    for v, part in parts.items():
        model.add_hint(part.x, placement.x[v])
        model.add_hint(part.y, placement.y[v])
        for i, chosen in enumerate(part.chosen):
            model.add_hint(chosen, i == 0)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = deterministic
    solver.parameters.max_time_in_seconds = seconds
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Answer(placement, solver.status_name(status), before, before, 0.0)
    found = _read(solver, placement, parts)
    after = _cost(problem, found, nets)
    bound = min(solver.best_objective_bound / SCALE, before)
    if after >= before:
        found, after = placement, before
    return Answer(found, solver.status_name(status), before, after, bound)


def _cost(problem: Problem, placement: Placement, nets: Sequence[Net]) -> float:
    """Wire and adapters of these nets."""
    weights = problem.objective
    wire = sum(wire_length(net, placement) for net in nets)
    return weights.wire * wire / 2 + weights.adapter * sum(adapters(net, placement) for net in nets)


def _declare(model: cp_model.CpModel, problem: Problem, shapes: Sequence[Shape]) -> _Part:
    region = problem.region
    chosen = [model.new_bool_var("") for _ in shapes]
    model.add_exactly_one(chosen)
    width = _selected([shape.width for shape in shapes], chosen, model)
    height = _selected([shape.height for shape in shapes], chosen, model)
    x = model.new_int_var(region.x, region.x + region.width, "")
    y = model.new_int_var(region.y, region.y + region.height, "")
    model.add(x + width <= region.x + region.width)
    model.add(y + height <= region.y + region.height)
    return _Part(x, y, width, height, chosen, shapes)


def _selected(values: Sequence[int], chosen: Sequence[Any], model: cp_model.CpModel) -> Any:
    """The value of the alternative that is chosen: a constant or a variable."""
    if len(set(values)) == 1:
        return values[0]
    value = model.new_int_var(min(values), max(values), "")
    model.add(value == sum(v * b for v, b in zip(values, chosen, strict=True)))
    return value


def _keep_order(model: cp_model.CpModel, problem: Problem, placement: Placement, parts: dict[int, _Part]) -> None:
    m = problem.margin
    boxes = [placement.rectangle(v) for v in range(len(problem.kernels))]
    for v, part in parts.items():
        for u, other in enumerate(boxes):
            if u != v and (u not in parts or u > v):
                there = parts.get(u)
                where = (there.x, there.y, there.width, there.height) if there else _tuple(other)
                _separate(model, boxes[v], (part.x, part.y, part.width, part.height), other, where, m)
        for o in problem.obstacles:
            _separate(model, boxes[v], (part.x, part.y, part.width, part.height), o, _tuple(o), 0)


def _tuple(box: Rectangle) -> tuple[int, int, int, int]:
    return box.x, box.y, box.width, box.height


def _separate(model: cp_model.CpModel, a: Rectangle, va: Any, b: Rectangle, vb: Any, margin: int) -> None:
    """Keep the two apart the way they are apart furthest now."""
    gaps = (b.x - a.x - a.width, a.x - b.x - b.width, b.y - a.y - a.height, a.y - b.y - b.height)
    way = gaps.index(max(gaps))
    axis, (first, second) = way // 2, ((va, vb) if way % 2 == 0 else (vb, va))
    model.add(first[axis] + first[2 + axis] + margin <= second[axis])


def _forbid_overlap(model: cp_model.CpModel, problem: Problem, placement: Placement, parts: dict[int, _Part]) -> None:
    """NoOverlap2D of the movable kernels, and of the fixed ones and obstacles; intervals contain the margin."""
    m = problem.margin
    region = problem.region
    across, down = [], []
    for part in parts.values():
        east = model.new_int_var(region.x, region.x + region.width + m, "")
        south = model.new_int_var(region.y, region.y + region.height + m, "")
        across.append(model.new_interval_var(part.x, part.width + m, east, ""))
        down.append(model.new_interval_var(part.y, part.height + m, south, ""))
    for v in range(len(problem.kernels)):
        if v not in parts:
            box = placement.rectangle(v)
            across.append(model.new_fixed_size_interval_var(box.x, box.width + m, ""))
            down.append(model.new_fixed_size_interval_var(box.y, box.height + m, ""))
    for o in problem.obstacles:
        across.append(model.new_fixed_size_interval_var(o.x, o.width, ""))
        down.append(model.new_fixed_size_interval_var(o.y, o.height, ""))
    model.add_no_overlap_2d(across, down)


def _wire_terms(model: cp_model.CpModel, problem: Problem, placement: Placement, parts: dict[int, _Part]) -> list[Any]:
    """For each net with a movable end, variables for |dx| and |dy| in half cores, which the objective keeps down."""
    price = round(problem.objective.wire * SCALE / 2)
    reach = 2 * (problem.region.width + problem.region.height)
    terms = []
    for net in problem.nets:
        if net.source not in parts and net.sink not in parts:
            continue
        ends = []
        for kernel, pin in ((net.source, net.source_pin), (net.sink, net.sink_pin)):
            if kernel not in parts:
                ends.append(placement.pin(kernel, pin))
                continue
            part = parts[kernel]
            dx = sum(s.pins[pin][0] * b for s, b in zip(part.shapes, part.chosen, strict=True))
            dy = sum(s.pins[pin][1] * b for s, b in zip(part.shapes, part.chosen, strict=True))
            ends.append((2 * part.x + dx, 2 * part.y + dy))
        for a, b in zip(*ends, strict=True):
            distance = model.new_int_var(0, reach, "")
            model.add(distance >= a - b)
            model.add(distance >= b - a)
            terms.append(price * net.weight * distance)
    return terms


def _adapter_terms(
    model: cp_model.CpModel, problem: Problem, placement: Placement, parts: dict[int, _Part]
) -> list[Any]:
    """For each net with a movable end and each entry of its protocol, a boolean that the two ends disagree."""
    price = round(problem.objective.adapter * SCALE)
    if not price:
        return []
    terms = []
    for net in problem.nets:
        if net.source not in parts and net.sink not in parts:
            continue
        given = _values(placement, parts, net.source, "protocol_out")
        wanted = _values(placement, parts, net.sink, "protocol_in")
        for entry in range(len(given[0][0])):
            options = {values[entry] for values, _ in (*given, *wanted)}
            if len(options) == 1:
                continue
            unequal = model.new_bool_var("")
            for value in sorted({values[entry] for values, _ in given}):
                here = sum(b for values, b in given if values[entry] == value)
                there = sum(b for values, b in wanted if values[entry] == value)
                model.add(unequal >= here - there)
            terms.append(price * unequal)
    return terms


def _values(placement: Placement, parts: dict[int, _Part], kernel: int, side: str) -> list[tuple[tuple[int, ...], Any]]:
    """The protocols an end can have, each with the boolean that chooses it."""
    if kernel not in parts:
        return [(getattr(placement.shapes[kernel], side), 1)]
    part = parts[kernel]
    return [(getattr(shape, side), chosen) for shape, chosen in zip(part.shapes, part.chosen, strict=True)]


def _read(solver: cp_model.CpSolver, placement: Placement, parts: dict[int, _Part]) -> Placement:
    shapes, xs, ys = list(placement.shapes), list(placement.x), list(placement.y)
    for v, part in parts.items():
        shapes[v] = part.shapes[[bool(solver.value(b)) for b in part.chosen].index(True)]
        xs[v], ys[v] = solver.value(part.x), solver.value(part.y)
    return Placement(tuple(shapes), tuple(xs), tuple(ys))
