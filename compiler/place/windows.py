"""Improvement of a placement: CP-SAT places windows of consecutive kernels anew, sliding over the program."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compiler.floorplan import Footprint, Placed
from compiler.place.constraints import Constraints, grown
from compiler.place.solver import Box, solve
from compiler.place.wire import Wire, cost

SIZE, STRIDE = 6, 3  # kernels in a window, kernels between the starts of two windows
SLACK = 24  # how far a window may grow beyond its kernels and their neighbours, in cores


@dataclass(frozen=True)
class Window:
    """What one window gave: costs of the wires at its kernels, in lane-hops, before, after and proved lower bound."""

    first: int
    last: int
    status: str
    before: int
    after: int
    bound: int


def improve(
    kernels: Sequence[Footprint],
    wiring: Sequence[Wire],
    places: list[Placed],
    region: Box,
    *,
    margin: int,
    seed: int,
    limit: float,
    constraints: Constraints,
    obstacles: Sequence[Box],
    deadline: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Placed], list[Window]]:
    """A placement in `region` that costs no more, and the windows. They share `limit`, deterministic time.

    Kernels that `constraints` fix stay, the others keep clear of `obstacles`, which hold the fixed ones too. After
    `deadline` (of `time.perf_counter`) no further window is begun.
    """
    places = list(places)
    count = len(kernels)
    starts = list(range(0, max(1, count - SIZE + STRIDE), STRIDE))
    first = region[0] + (1 + margin if any(kernel.edge for kernel in kernels) else 0)
    windows = []
    for done, start in enumerate(starts):
        left = None if deadline is None else deadline - time.perf_counter()
        if left is not None and left <= 0:
            break
        movable = [i for i in range(start, min(start + SIZE, count)) if i not in constraints.fixed]
        if not movable:
            continue
        touching = [wire for wire in wiring if wire.source[0] in movable or wire.sink[0] in movable]
        domain = _domain(kernels, places, touching, movable, region)
        others = (places[i].box(kernels[i]) for i in range(count) if i not in movable and i not in constraints.fixed)
        near = [(x, y, w + margin, h + margin) for x, y, w, h in others if _meets((x, y, w, h), domain, margin)]
        near += grown(obstacles, margin, domain) if obstacles else []
        before = cost(kernels, places, touching)
        answer = solve(
            kernels, movable, domain, near, touching, places,
            margin=margin, first=first, seed=seed, limit=limit / len(starts), seconds=left, regions=constraints.regions,
        )  # fmt: skip
        after = before
        if answer.places and answer.objective < before:
            after = answer.objective
            for index, place in answer.places.items():
                places[index] = place
        windows.append(
            Window(movable[0], movable[-1], answer.status, before, after, answer.bound if answer.places else 0)
        )
        if progress:
            progress(done + 1, len(starts))
    return places, windows


def _domain(
    kernels: Sequence[Footprint], places: Sequence[Placed], wiring: Sequence[Wire], movable: Sequence[int], region: Box
) -> Box:
    """Where the kernels of a window may go: around the window's kernels and what they are wired to, in the region."""
    boxes = [places[i].box(kernels[i]) for i in movable]
    for wire in wiring:
        for index, col, row in (wire.source, wire.sink):
            boxes.append((*places[index].at(kernels[index], col, row), 1, 1))
    x, y, columns, rows = region
    west = max(x, min(box[0] for box in boxes) - SLACK)
    north = max(y, min(box[1] for box in boxes) - SLACK)
    east = min(x + columns, max(box[0] + box[2] for box in boxes) + SLACK)
    south = min(y + rows, max(box[1] + box[3] for box in boxes) + SLACK)
    if any(kernels[i].edge for i in movable):
        west = x
    return west, north, east - west, south - north


def _meets(a: Box, b: Box, margin: int) -> bool:
    """Whether two boxes are less than `margin` apart."""
    return (
        a[0] < b[0] + b[2] + margin
        and b[0] < a[0] + a[2] + margin
        and a[1] < b[1] + b[3] + margin
        and b[1] < a[1] + a[3] + margin
    )
