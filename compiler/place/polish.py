"""The last stage of the engine: exact improvement, first of the whole under its order, then of windows."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from compiler.place.exact import improve
from compiler.place.problem import Placement, Problem, Shape, ShapeTable, shape_of
from compiler.place.tables import Builder

ALTERNATIVES = 10  # shapes a kernel may choose from
SIZE = 6  # kernels in a window
WHOLE_LIMIT, WINDOW_LIMIT = 4.0, 1.0  # deterministic time of one solve
WHOLE_SHARE = 0.4  # of the time: at most this for the whole under its order


def polish(
    problem: Problem,
    builder: Builder,
    placement: Placement,
    *,
    deadline: float | None,
    deterministic: float,
    seed: int,
    offer: Callable[[Placement, str], None],
    best: Callable[[], Placement | None],
    tell: Callable[[], None],
) -> float | None:
    """Offers better placements until the deadline or, without one, `deterministic` time is used up.

    Returns the solver's bound on wire and adapters of the whole under its order, where it found one.
    """
    spent = 0.0

    def left(share: float, most: float) -> tuple[float, float]:
        """(seconds, deterministic time) for the next solve."""
        if deadline is not None:
            return max(0.0, (deadline - time.perf_counter()) * share), most
        return 1e9, min(most, max(0.0, deterministic - spent))

    everyone = range(len(problem.kernels))
    seconds, units = left(WHOLE_SHARE, WHOLE_LIMIT)
    if seconds < 0.05 or units <= 0:
        return None
    choices = {v: alternatives(problem, builder, placement, v, 3) for v in everyone}
    answer = improve(
        problem, placement, choices, ordered=True, seconds=seconds, deterministic=units, seed=seed
    )  # fmt: skip
    spent += units
    offer(answer.placement, "order")
    tell()
    order = window_order(problem, np.random.default_rng(seed))
    for movable in order:
        seconds, units = left(1.0, WINDOW_LIMIT)
        current = best()
        if seconds < 0.1 or units <= 0 or current is None:
            break
        choices = {v: alternatives(problem, builder, current, v, ALTERNATIVES) for v in movable}
        found = improve(problem, current, choices, ordered=False, seconds=seconds, deterministic=units, seed=seed)
        spent += units
        if found.after < found.before:
            offer(found.placement, "window")
        tell()
    return answer.bound


def window_order(problem: Problem, random: np.random.Generator) -> list[list[int]]:
    """Windows of kernels near one another in the graph, each kernel twice the centre of one, in random order."""
    near: list[list[int]] = [[] for _ in problem.kernels]
    for net in problem.nets:
        near[net.source].append(net.sink)
        near[net.sink].append(net.source)
    windows = []
    for _ in range(2):
        for centre in random.permutation(len(problem.kernels)).tolist():
            window = [centre]
            for v in window:
                window += [u for u in near[v] if u not in window]
                if len(window) >= SIZE:
                    break
            windows.append(sorted(window[:SIZE]))
    return windows


def alternatives(problem: Problem, builder: Builder, placement: Placement, kernel: int, count: int) -> list[Shape]:
    """The kernel's present shape, then shapes no slower than the placement whose sizes or protocol are close to it."""
    limit = max(shape.time for shape in placement.shapes)
    present = placement.shapes[kernel]
    table = builder.shapes(int(builder.kind[kernel]), limit)
    distance = np.abs(table.width - present.width) + np.abs(table.height - present.height)
    area = table.width.astype(np.int64) * table.height
    room = distance + np.maximum(0, area - present.width * present.height) / max(present.width, present.height)
    if problem.objective.adapter:
        room = room + 8 * _strangeness(problem, placement, kernel, table)
    rows = np.argsort(room, kind="stable")[: count + 1]
    found = [present]
    for row in rows:
        shape = shape_of(table, int(row))
        if shape != present and len(found) < count:
            found.append(shape)
    return found


def _strangeness(problem: Problem, placement: Placement, kernel: int, table: ShapeTable) -> np.ndarray:
    """For every shape, how many entries of its nets' protocols would disagree with the other ends as they stand."""
    total = np.zeros(len(table))
    for net in problem.nets:
        if net.source == kernel:
            values = np.array(placement.shapes[net.sink].protocol_in)
            ranges = table.protocol_out
        elif net.sink == kernel:
            values = np.array(placement.shapes[net.source].protocol_out)
            ranges = table.protocol_in
        else:
            continue
        total += ((ranges[:, :, 0] > values) | (ranges[:, :, 1] < values)).sum(axis=1)
    return total
