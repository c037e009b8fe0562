"""Proved lower bounds on the objective of a placement problem, from areas and from the sizes of neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from compiler.place.problem import Problem
from compiler.place.tables import Builder
from runtime.errors import InfeasibleError

STEPS = 40  # limits between the time bound and the last one looked at


@dataclass(frozen=True)
class Bounds:
    """`time` is the least possible MT in cycles, `wire` the least WL in cores under it, `score` the least score."""

    time: float
    wire: float
    score: float


def free_area(problem: Problem) -> int:
    """Cores of the region outside its obstacles, with the margin that kernels may keep beyond its far sides."""
    region, m = problem.region, problem.margin
    taken = np.zeros((region.height + m, region.width + m), dtype=np.bool_)
    for o in problem.obstacles:
        x0, y0 = max(0, o.x - region.x), max(0, o.y - region.y)
        x1, y1 = o.x - region.x + o.width, o.y - region.y + o.height
        taken[y0 : max(y1, y0), x0 : max(x1, x0)] = True
    return int(taken.size - taken.sum())


def least_area(builder: Builder, limit: float) -> int | None:
    """Cores all kernels need at least, margins included, with times up to `limit`; None if one has no shape at all."""
    m = builder.problem.margin
    region = builder.problem.region
    total = 0
    for kind in range(len(builder.sources)):
        table = builder.shapes(kind, limit)
        fits = (table.width <= region.width) & (table.height <= region.height)
        if not fits.any():
            return None
        area = (table.width[fits].astype(np.int64) + m) * (table.height[fits].astype(np.int64) + m)
        total += int(area.min()) * int((builder.kind == kind).sum())
    return total


def time_bound(builder: Builder) -> float:
    """The least achievable time at which the kernels' least areas add up to no more than the region has.

    Raises InfeasibleError if there is none: some kernel has no legal shape that fits, or the areas never do.
    """
    room = free_area(builder.problem)
    high = 1.0
    while (need := least_area(builder, high)) is None or need > room:
        high *= 2
        if high > 1e15:
            raise _nothing_fits(builder, need, room)
    low = high / 2 if high > 1 else 0.0
    times = np.unique(np.concatenate([source.times(low, high) for source in builder.sources]))
    first, last = 0, len(times) - 1
    while first < last:
        middle = (first + last) // 2
        need = least_area(builder, float(times[middle]))
        if need is not None and need <= room:
            last = middle
        else:
            first = middle + 1
    return float(times[first]) if len(times) else high


def _nothing_fits(builder: Builder, need: int | None, room: int) -> InfeasibleError:
    problem = builder.problem
    size = f"{problem.region.width} x {problem.region.height}"
    hint = "use a larger region, more memory per core, or fewer kernels"
    if need is None:
        for kernel in problem.kernels:
            table = builder.shapes(builder.sources.index(kernel.shapes), 1e15)
            if not ((table.width <= problem.region.width) & (table.height <= problem.region.height)).any():
                message = f"no legal shape of at most {problem.memory:,g} memory per core fits {size} cores at any time"
                return InfeasibleError(message, code="kernel-too-large", where=kernel.name, hint=hint)
    message = f"the {len(problem.kernels)} kernels need {need or 0:,} cores at any time; {size} has {room:,} to give"
    return InfeasibleError(message, code="too-many-cores", hint=hint)


def wire_bound(builder: Builder, limit: float) -> float:
    """The least WL in cores with times up to `limit`.

    Two disjoint rectangles are apart in x or in y, so their centres are at least half the sum of their short sides (and
    the margin) apart. Pins elsewhere than in the centre may touch: such nets count 0.
    """
    problem = builder.problem
    shortest = np.zeros(len(builder.sources))
    centred = np.ones(len(builder.sources), dtype=np.bool_)
    for kind in range(len(builder.sources)):
        table = builder.shapes(kind, limit)
        if not len(table):
            return 0.0
        shortest[kind] = np.minimum(table.width, table.height).min()
        sizes = np.stack([table.width, table.height], axis=1)
        centred[kind] = bool((table.pins == sizes[:, None, :]).all())
    total = 0.0
    for net in problem.nets:
        a, b = builder.kind[net.source], builder.kind[net.sink]
        if centred[a] and centred[b] and net.source != net.sink:
            total += net.weight * ((shortest[a] + shortest[b]) / 2 + problem.margin)
    return total


def bounds(builder: Builder) -> Bounds:
    """Bounds on time, wire and score. Raises InfeasibleError as `time_bound` does."""
    weights = builder.problem.objective
    time = time_bound(builder)
    wire = wire_bound(builder, time)
    # The slower, the thinner may kernels be: the score is bounded on each interval of times by its low end's time and
    # its high end's wire. Beyond `last` time alone costs more than that.
    last = time + (weights.wire * wire / weights.time if weights.time else 0.0)
    limits = np.linspace(time, last, STEPS)
    score = weights.time * last
    for low, high in pairwise(limits):
        if weights.time * low >= score:
            break
        score = min(score, weights.time * float(low) + weights.wire * wire_bound(builder, float(high)))
    return Bounds(time, wire, score)
