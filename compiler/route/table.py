"""The router table of a routed program: what every router does with every colour, as rectangles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from compiler.floorplan import Footprint, Placed
from compiler.route.router import RouteResult

Array = np.ndarray[Any, Any]
Entry = tuple[int, int, int, int, int, int, int]
"""(x, y, w, h, colour, inputs mask, outputs mask): so for every router of the rectangle."""


def entries(result: RouteResult, kernels: Sequence[Footprint], placed: Sequence[Placed]) -> list[Entry]:
    """All routes, the channels' and the kernels' own, sorted. No router appears twice with one colour."""
    routers: dict[tuple[int, int, int], list[tuple[int, int]]] = defaultdict(list)
    for channel in result.channels:
        for x, y, inputs, outputs in channel.hops:
            routers[channel.colour, inputs, outputs].append((y, x))
    table = [(*box, *what) for what, cells in routers.items() for box in rectangles(cells)]
    for kernel, place in zip(kernels, placed, strict=True):
        table.extend(place.route(kernel, internal) for internal in kernel.colours)
    return sorted(table)


def boxes(kind: Array, x: Array, y: Array) -> tuple[Array, Array, Array, Array, Array]:
    """(kind, x, y, w, h) of the rectangles of cells (x, y) that are alike, as `rectangles` finds them for each kind."""
    order = np.lexsort((x, y, kind))
    kind, x, y = kind[order], x[order], y[order]
    first = _breaks(kind, y, x)
    width = np.diff(np.append(first, len(x)))
    kind, x, y = kind[first], x[first], y[first]
    order = np.lexsort((y, width, x, kind))
    kind, x, y, width = kind[order], x[order], y[order], width[order]
    first = _breaks(kind, x, width, y)
    height = np.diff(np.append(first, len(x)))
    return kind[first], x[first], y[first], width[first], height


def _breaks(*columns: Array) -> Array:
    """Rows that do not continue the one before: other values, or not the next number in the last column."""
    *same, running = columns
    new = np.ones(len(running), bool)
    new[1:] = running[1:] != running[:-1] + 1
    for column in same:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)


def rectangles(cells: Iterable[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    """Disjoint rectangles (x, y, w, h) that cover distinct cells (y, x): runs along x, then equal runs of next rows."""
    return stack(_runs(cells))


def stack(runs: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Rectangles (x, y, w, h) of runs (y, x, w) in ascending order, equal runs of neighbouring rows joined."""
    open_runs: dict[tuple[int, int], tuple[int, int]] = {}  # (x, w) -> (y, h) of the last such run
    closed = []
    for y, x, w in runs:
        start, height = open_runs.get((x, w), (y, 0))
        if start + height != y:
            closed.append((x, start, w, height))
            start, height = y, 0
        open_runs[x, w] = start, height + 1
    return closed + [(x, y, w, h) for (x, w), (y, h) in open_runs.items()]


def _runs(cells: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(y, x, w) of the runs of neighbouring cells in each row."""
    runs: list[tuple[int, int, int]] = []
    for y, x in sorted(cells):
        if runs and runs[-1][0] == y and runs[-1][1] + runs[-1][2] == x:
            runs[-1] = y, runs[-1][1], runs[-1][2] + 1
        else:
            runs.append((y, x, 1))
    return runs
