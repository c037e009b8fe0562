"""Constructive placement: kernels in topological order, each at its cheapest free position along a snake of bands.

For one kernel and orientation the wire cost of all positions is a sum of a term in x and a term in y, and a summed-area
table tells for all positions at once whether the rectangle is free; so every insertion is an exact minimum over all
positions of the region. A price on progress along the snake keeps the chain compact and stops it from walling itself
in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler.floorplan import Footprint, Placed
from compiler.place.constraints import NONE, Constraints
from compiler.place.wire import Pin, Wire
from runtime.geometry import Orientation

Costs = npt.NDArray[np.int64]
ORIENTATIONS = tuple(Orientation(code) for code in range(8))
TAKEN = 1 << 60  # cost of a position that is not free
RESTARTS = 6

Attachment = tuple[tuple[int, int], Pin, int]
"""A kernel's own pin, the pin at the other end, and the weight of the wire."""
Pull = tuple[tuple[int, int], tuple[int, int], int]
"""A kernel's own pin, the router on the fabric it is wired to, and the weight of the wire."""


@dataclass(frozen=True)
class Snake:
    """Bands of `band` rows, run through alternately eastwards and westwards, in a region `width` columns wide.

    `price` is the cost of one step of progress along the snake, in lane-hops.
    """

    width: int
    band: int
    price: int


def construct(
    kernels: Sequence[Footprint],
    wiring: Sequence[Wire],
    region: tuple[int, int, int, int],
    snake: Snake,
    margin: int,
    constraints: Constraints = NONE,
    obstacles: Sequence[tuple[int, int, int, int]] = (),
) -> list[Placed] | None:
    """Places inside `region` (x, y, columns, rows) with gaps of at least `margin`, or None if some kernel finds none.

    Kernels that `constraints` fix stand so; the others keep the gap from `obstacles`, which hold the fixed ones too. A
    kernel that finds no place is put first in the order and all starts again. If there are host ports, the region's
    first column is theirs alone.
    """
    order = [index for index in range(len(kernels)) if index not in constraints.fixed]
    attached = attachments(len(kernels), wiring)
    for _ in range(RESTARTS):
        places = _insert_all(kernels, attached, region, snake, margin, order, constraints, obstacles)
        if len(places) == len(kernels):
            return [places[index] for index in range(len(kernels))]
        stuck = order[len(places) - len(constraints.fixed)]
        order.remove(stuck)
        order.insert(0, stuck)
    return None


def attachments(count: int, wiring: Sequence[Wire]) -> list[list[Attachment]]:
    """By kernel: the wires at its pins."""
    attached: list[list[Attachment]] = [[] for _ in range(count)]
    for wire in wiring:
        for here, there in ((wire.source, wire.sink), (wire.sink, wire.source)):
            attached[here[0]].append((here[1:], there, wire.weight))
    return attached


def _insert_all(
    kernels: Sequence[Footprint],
    attached: Sequence[Sequence[Attachment]],
    region: tuple[int, int, int, int],
    snake: Snake,
    margin: int,
    order: Sequence[int],
    constraints: Constraints,
    obstacles: Sequence[tuple[int, int, int, int]],
) -> dict[int, Placed]:
    """Places of the kernels in `order`, up to the first that finds none."""
    x0, y0, columns, rows = region
    first = 1 + margin if any(kernel.edge for kernel in kernels) else 0
    taken = np.zeros((rows, columns), np.bool_)
    places: dict[int, Placed] = dict(constraints.fixed)
    for box in obstacles:
        _take(taken, box, region, margin)
    for index in order:
        kernel = kernels[index]
        pulls = [
            (pin, places[there].at(kernels[there], col, row), weight)
            for pin, (there, col, row), weight in attached[index]
            if there in places
        ]
        early = bool(pulls) or 2 * index < len(kernels)
        directed = snake if early else Snake(snake.width, snake.band, -snake.price)
        place = _insert(kernel, pulls, taken, (x0, y0), first, directed, constraints.regions.get(index, region))
        if place is None:
            break
        places[index] = place
        _take(taken, place.box(kernel), region, margin)
    return places


def _take(
    taken: npt.NDArray[np.bool_], box: tuple[int, int, int, int], region: tuple[int, int, int, int], margin: int
) -> None:
    """Mark a box of the fabric and the margin around it, as far as they lie in the region."""
    x, y, w, h = box
    x, y = x - region[0], y - region[1]
    rows = slice(max(0, y - margin), max(0, y + h + margin))
    taken[rows, max(0, x - margin) : max(0, x + w + margin)] = True


def _insert(
    kernel: Footprint,
    pulls: Sequence[Pull],
    taken: npt.NDArray[np.bool_],
    origin: tuple[int, int],
    first: int,
    snake: Snake,
    within: tuple[int, int, int, int],
) -> Placed | None:
    """The cheapest free place of one kernel inside the box `within`."""
    rows, columns = taken.shape
    sums = np.zeros((rows + 1, columns + 1), np.int32)
    np.cumsum(np.cumsum(taken, axis=0, dtype=np.int32), axis=1, out=sums[1:, 1:])
    best: tuple[int, Placed] | None = None
    for orientation in distinct_orientations(kernel, tuple(pin for pin, _, _ in pulls)):
        w, h = orientation.size(kernel.cols, kernel.rows)
        if w > columns or h > rows:
            continue
        along_x, along_y = np.arange(columns - w + 1), np.arange(rows - h + 1)
        cost = _progress(along_x, along_y, w, h, snake)
        for pin, (px, py), weight in pulls:
            dx, dy = orientation.point(*pin, kernel.cols, kernel.rows)
            cost += weight * np.abs(along_x + (origin[0] + dx - px))[None, :]
            cost += weight * np.abs(along_y + (origin[1] + dy - py))[:, None]
        occupied = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
        cost[occupied > 0] = TAKEN
        west, north = within[0] - origin[0], within[1] - origin[1]
        cost[:, : max(0, west)] = cost[: max(0, north)] = TAKEN
        cost[:, max(0, west + within[2] - w + 1) :] = cost[max(0, north + within[3] - h + 1) :] = TAKEN
        cost[:, slice(1, None) if kernel.edge else slice(first)] = TAKEN
        at = int(np.argmin(cost))
        value = int(cost.flat[at])
        if value < TAKEN and (best is None or value < best[0]):
            y, x = divmod(at, len(along_x))
            best = value, Placed(origin[0] + x, origin[1] + y, orientation)
    return best[1] if best else None


def distinct_orientations(kernel: Footprint, pins: tuple[tuple[int, int], ...]) -> list[Orientation]:
    """The orientations that differ in size or in where `pins` come to lie, the lowest code of each kind."""
    if kernel.edge:
        return [ORIENTATIONS[0]]
    kinds: dict[object, Orientation] = {}
    for orientation in ORIENTATIONS:
        size = orientation.size(kernel.cols, kernel.rows)
        at = tuple(orientation.point(*pin, kernel.cols, kernel.rows) for pin in pins)
        kinds.setdefault((size, at), orientation)
    return list(kinds.values())


def _progress(x: Costs, y: Costs, w: int, h: int, snake: Snake) -> Costs:
    """[y, x] -> price of how far along the snake the far end of a rectangle reaches."""
    bands = (y + h - 1) // snake.band
    eastward = (bands % 2 == 0)[:, None]
    reach = np.where(eastward, (x + w)[None, :], (snake.width - x)[None, :])
    return snake.price * (bands[:, None] * snake.width + reach)
