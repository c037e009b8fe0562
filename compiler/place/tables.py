"""Shapes of all kernels at a list of time limits, as the arrays the compiled search reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler.place.layout import FAR
from compiler.place.problem import Floats, Ints, Problem, Shape, ShapeSource, ShapeTable

Longs = npt.NDArray[np.int64]

# Curves reach this much beyond the region, so that the search may pass through layouts that stick out.
OVERHANG = 0.12
# Where adapters cost something, shapes wider than the narrowest of at most their height are kept for their protocol: by
# this factor and this many cores.
ROOMY = 1.15, 2


class Tables(NamedTuple):
    """What a kernel can be: `rows` are shapes; a *part* is the shapes of one kind of kernel under one time limit.

    Sizes contain the problem's margin. `wide[part, h]` is the least width at most h high, `wide_row` the row of that
    shape (-1: none); `high[part, w]` and `high_row` likewise.
    """

    part: Longs  # (limits, kernels)
    limits: Floats  # (limits) ascending
    wide: Ints  # (parts, h)
    wide_row: Ints
    high: Ints  # (parts, w)
    high_row: Ints
    start: Longs  # (parts + 1) into the rows, which are sorted by protocol within a part
    size: Ints  # (rows, 2)
    time: Floats  # (rows)
    pins: Ints  # (rows, pins, 2) half cores
    given: Ints  # (rows, entries, 2) protocol ranges towards sinks
    wanted: Ints  # (rows, entries, 2) protocol ranges from sources
    key: Ints  # (rows) which of `keys`
    keys: Ints  # (keys, entries) the high ends of `wanted`, sorted
    net: Longs  # (nets, 5) source, sink, source pin, sink pin, weight
    near_start: Longs  # (kernels + 1) into near
    near: Longs  # kernels on a net with each kernel
    obstacle: Longs  # (obstacles, 4) x, y, width, height, relative to the region


@dataclass(frozen=True)
class Part:
    """Shapes of one kind under one limit and their curves, with row numbers from 0."""

    table: ShapeTable
    wide: Ints
    wide_row: Ints
    high: Ints
    high_row: Ints


@dataclass
class Builder:
    """Makes tables for lists of time limits; without `protocols` of the shapes that matter for their size only."""

    problem: Problem
    protocols: bool = True
    sources: list[ShapeSource] = field(init=False)
    kind: Longs = field(init=False)  # (kernels) index into sources

    def __post_init__(self) -> None:
        kinds: dict[ShapeSource, int] = {}
        self.kind = np.array([kinds.setdefault(k.shapes, len(kinds)) for k in self.problem.kernels], dtype=np.int64)
        self.sources = list(kinds)

    def shapes(self, kind: int, limit: float) -> ShapeTable:
        """The legal shapes of a kind under a limit."""
        table = self.sources[kind].shapes(limit)
        return table.take(table.memory <= self.problem.memory)

    def limits(self, low: float, high: float, most: int) -> Floats:
        """At most `most` of the times in [low, high] at which some kernel's shapes change; always one."""
        found = np.unique(np.concatenate([source.times(low, high) for source in self.sources] or [np.zeros(0)]))
        if not len(found):
            return np.array([high], dtype=np.float64)
        chosen = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(np.int64))
        return np.asarray(found[chosen], dtype=np.float64)

    def choice(self, limits: Floats) -> Choice:
        """Tables for these limits, which ascend."""
        numbers: dict[tuple[int, float], int] = {}
        parts: list[Part] = []
        part = np.empty((len(limits), len(self.kind)), dtype=np.int64)
        for kind, source in enumerate(self.sources):
            steps = source.times(float(limits[0]), float(limits[-1]))
            for t, limit in enumerate(limits):
                step = int(np.searchsorted(steps, limit + 1e-9, side="right"))
                name = (kind, float(limits[0]) if step == 0 else float(steps[step - 1]))
                if name not in numbers:
                    numbers[name] = len(parts)
                    parts.append(self._part(self.shapes(*name)))
                part[t, self.kind == kind] = numbers[name]
        return Choice.of(self.problem, limits, part, parts)

    def _part(self, table: ShapeTable) -> Part:
        margin, region = self.problem.margin, self.problem.region
        frontier = table.take(pareto(table))
        h_end = round(region.height * (1 + OVERHANG)) + margin + 2
        w_end = round(region.width * (1 + OVERHANG)) + margin + 2
        if self.protocols and self.problem.objective.adapter and len(frontier):
            narrowest, _ = curve(frontier.width, frontier.height, h_end)
            table = table.take((table.width <= region.width) & (table.height <= region.height))
            factor, extra = ROOMY
            table = table.take(table.width <= narrowest[table.height] * factor + extra)
            frontier = table.take(np.lexsort(table.protocol_in[:, ::-1, 1].T))
        w, h = frontier.width + np.int32(margin), frontier.height + np.int32(margin)
        return Part(frontier, *curve(w, h, h_end), *curve(h, w, w_end))


@dataclass(frozen=True)
class Choice:
    """Tables for the search, and the way back from its row numbers to shapes."""

    tables: Tables
    parts: Sequence[Part]

    @classmethod
    def of(cls, problem: Problem, limits: Floats, part: Longs, parts: Sequence[Part]) -> Choice:
        shapes = [p.table for p in parts]
        start = np.concatenate([[0], np.cumsum([len(table) for table in shapes])]).astype(np.int64)

        def rows(values: Ints, offset: int) -> Ints:
            return np.where(values >= 0, values + offset, -1).astype(np.int32)

        wanted = np.concatenate([table.protocol_in for table in shapes])
        keys, key = distinct(wanted[:, :, 1])
        near = [
            [e.sink if e.source == v else e.source for e in problem.nets if v in (e.source, e.sink)]
            for v in range(len(problem.kernels))
        ]
        region, margin = problem.region, problem.margin
        nets = [(e.source, e.sink, e.source_pin, e.sink_pin, e.weight) for e in problem.nets]
        obstacles = [(o.x - region.x, o.y - region.y, o.width, o.height) for o in problem.obstacles]
        return cls(
            Tables(
                part=part,
                limits=limits,
                wide=np.stack([p.wide for p in parts]),
                wide_row=np.stack([rows(p.wide_row, s) for p, s in zip(parts, start, strict=False)]),
                high=np.stack([p.high for p in parts]),
                high_row=np.stack([rows(p.high_row, s) for p, s in zip(parts, start, strict=False)]),
                start=start,
                size=np.stack(
                    [np.concatenate([t.width for t in shapes]), np.concatenate([t.height for t in shapes])], axis=1
                )
                + np.int32(margin),
                time=np.concatenate([table.time for table in shapes]),
                pins=np.concatenate([table.pins for table in shapes]),
                given=np.concatenate([table.protocol_out for table in shapes]),
                wanted=wanted,
                key=key.reshape(-1).astype(np.int32),
                keys=keys.astype(np.int32),
                net=np.array(nets, dtype=np.int64).reshape(-1, 5),
                near_start=np.concatenate([[0], np.cumsum([len(x) for x in near])]).astype(np.int64),
                near=np.array([v for x in near for v in x], dtype=np.int64),
                obstacle=np.array(obstacles, dtype=np.int64).reshape(-1, 4),
            ),
            parts,
        )

    def locate(self, row: int) -> tuple[ShapeTable, int]:
        """The table of a row number, and the row's index there."""
        part = int(np.searchsorted(self.tables.start, row, side="right")) - 1
        return self.parts[part].table, row - int(self.tables.start[part])


def settle(builder: Builder, choice: Choice, rows: Sequence[int]) -> list[Shape]:
    """Shapes of the chosen rows, one a kernel, protocols fixed so that as many nets as possible agree.

    The ends of nets that must be equal form groups; a group that has a common value takes its least one, a group that
    has none is filled net by net, in order, as far as it goes.
    """
    tables = choice.tables
    entries = tables.given.shape[1]
    count = len(rows)
    low = np.empty((2, count, entries), dtype=np.int64)  # [0] wanted, [1] given
    high = np.empty_like(low)
    for v, row in enumerate(rows):
        low[0, v], high[0, v] = tables.wanted[row, :, 0], tables.wanted[row, :, 1]
        low[1, v], high[1, v] = tables.given[row, :, 0], tables.given[row, :, 1]
    group = {(side, v, e): (side, v, e) for side in (0, 1) for v in range(count) for e in range(entries)}

    def find(end: tuple[int, int, int]) -> tuple[int, int, int]:
        while group[end] != end:
            end = group[end]
        return end

    for net in builder.problem.nets:
        for e in range(entries):
            a, b = find((1, net.source, e)), find((0, net.sink, e))
            joint = max(low[a], low[b]), min(high[a], high[b])
            if a != b and joint[0] <= joint[1]:
                group[b] = a
                low[a], high[a] = joint
    shapes = []
    for v, row in enumerate(rows):
        table, index = choice.locate(row)
        values = [[int(low[find((side, v, e))]) for e in range(entries)] for side in (0, 1)]
        shapes.append(builder.problem.kernels[v].shapes.settle(table, index, values[0], values[1]))
    return shapes


def pareto(table: ShapeTable) -> Longs:
    """Rows no other row of which is both as narrow and as low; the first of equal ones, by width."""
    order: Longs = np.lexsort((table.time, table.height, table.width))
    height = table.height[order]
    best = np.minimum.accumulate(height) if len(order) else height
    keep = np.ones(len(order), dtype=np.bool_)
    keep[1:] = height[1:] < best[:-1]
    return order[keep]


def distinct(rows: Ints) -> tuple[Ints, Longs]:
    """(the distinct rows in order, which of them each row is); `np.unique` along an axis is many times slower."""
    number = np.zeros(len(rows), dtype=np.int64)
    for column in rows.T:
        values = np.unique(column)
        number = number * len(values) + np.searchsorted(values, column)
        number = np.searchsorted(np.unique(number), number)
    first = np.zeros(int(number.max(initial=-1)) + 1, dtype=np.int64)
    first[number[::-1]] = np.arange(len(rows))[::-1]
    return rows[first], number


def curve(first: Ints, second: Ints, length: int) -> tuple[Ints, Ints]:
    """(least `first` when `second` is at most i, the row of it) for i in 0..length-1."""
    order = np.lexsort((first, second))
    least = np.minimum.accumulate(first[order]) if len(order) else first
    falls = order[np.concatenate([np.ones(len(order[:1]), dtype=np.bool_), least[1:] < least[:-1]])]
    step = np.searchsorted(second[falls], np.arange(length), side="right")
    values = np.concatenate([[FAR], first[falls]])[step]
    rows = np.concatenate([[-1], falls])[step]
    return values.astype(np.int32), rows.astype(np.int32)
