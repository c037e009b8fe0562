"""Improvement of a placement: CP-SAT places windows of consecutive kernels anew, sliding over the program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compiler.floorplan import Footprint, Placed
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
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Placed], list[Window]]:
    """A placement in `region` that costs no more, and the windows. They share `limit`, deterministic time."""
    places = list(places)
    count = len(kernels)
    starts = list(range(0, max(1, count - SIZE + STRIDE), STRIDE))
    first = region[0] + (1 + margin if any(kernel.edge for kernel in kernels) else 0)
    windows = []
    for done, start in enumerate(starts):
        movable = range(start, min(start + SIZE, count))
        touching = [wire for wire in wiring if wire.source[0] in movable or wire.sink[0] in movable]
        domain = _domain(kernels, places, touching, movable, region)
        fixed = [places[i].box(kernels[i]) for i in range(count) if i not in movable]
        near = [box for box in fixed if _meets(box, domain, margin)]
        before = cost(kernels, places, touching)
        answer = solve(
            kernels, movable, domain, near, touching, places,
            margin=margin, first=first, seed=seed, limit=limit / len(starts),
        )  # fmt: skip
        after = before
        if answer.places and answer.objective < before:
            after = answer.objective
            for index, place in answer.places.items():
                places[index] = place
        windows.append(Window(start, movable[-1], answer.status, before, after, answer.bound if answer.places else 0))
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
