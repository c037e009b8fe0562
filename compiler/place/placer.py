"""The placer: a constructive placement always, improved by CP-SAT; or a proof that nothing fits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from compiler import floorplan
from compiler.floorplan import Footprint, Net, Placed
from compiler.place.constraints import NONE, Constraints, check_fixed, grown, obstacles
from compiler.place.constructive import Snake, construct
from compiler.place.room import Room
from compiler.place.solver import Box, solve
from compiler.place.windows import Window, improve
from compiler.place.wire import Wire, cost, wires
from runtime import defects
from runtime.errors import InfeasibleError, Lever, LimitError, Shortage, WsecError
from runtime.target import Target

# Regions to try, the smallest first: area as a multiple of the kernels' area, width as a multiple of height.
AREA_FACTORS = (1.6, 2.2, 3.5)
ASPECTS = (0.5, 1.4, 3.0)
SNAKES = ((60, 1), (100, 1), (60, 0))  # band in rows, price of a step as a multiple of the mean bundle's width / 16
TIGHT_SNAKES = ((8, 1), (16, 1), (32, 1), (60, 0))  # when the region is the whole target


@dataclass(frozen=True)
class PlaceResult:
    """A legal placement. Costs are in lane-hops: weight times Manhattan distance, summed over the wires.

    `status` is OPTIMAL if every window was solved to its optimum (given the others), FEASIBLE if not. `bound` is the
    sum over windows of the proved bound, `objective` that of the costs reached; a wire inside two windows counts twice.
    """

    placed: list[Placed]
    constructive_cost: int
    cost: int
    box: Box  # (x, y, columns, rows) around all kernels
    kernel_area: int
    margin: int
    status: str
    objective: int
    bound: int
    windows: list[Window] = field(repr=False)
    seconds: float = field(compare=False)

    @property
    def gap(self) -> float | None:
        """Relative distance of `objective` from `bound`, 0 when every window is optimal; None without improvement."""
        if not self.windows:
            return None
        return (self.objective - self.bound) / self.objective if self.objective else 0.0


def place(
    kernels: Sequence[Footprint],
    nets: Sequence[Net],
    target: Target,
    *,
    seed: int = 0,
    deterministic_limit: float = 12.0,
    time_limit: float = 0.0,
    margin: int = 1,
    constraints: Constraints = NONE,
    progress: Callable[[int, int], None] | None = None,
) -> PlaceResult:
    """Places for `kernels`, given in topological order, at least `margin` cores apart where the target has room.

    `deterministic_limit` bounds the improvement (0: none), in OR-tools' deterministic time, about seconds. `time_limit`
    in seconds of wall clock (0: none) ends it early, with what it has. Kernels stay clear of the target's dead cores.
    Raises InputError for fixed kernels that cannot stand so, InfeasibleError if it is proved that nothing fits,
    LimitError if no placement was found.
    """
    begin = time.perf_counter()
    floorplan.check(kernels, nets)
    check_fixed(constraints, kernels, target)
    _check_demand(kernels, target, constraints)
    wiring = wires(kernels, nets)
    found = _construct(kernels, wiring, target, margin, constraints)
    if found is None:
        margin, region = 0, target.usable
        places = _pack(kernels, target, constraints, seed, deterministic_limit)
    else:
        places, region, margin = found
    constructive_cost = cost(kernels, places, wiring)
    windows: list[Window] = []
    if deterministic_limit > 0:
        places, windows = improve(
            kernels, wiring, places, region,
            margin=margin, seed=seed, limit=deterministic_limit, progress=progress, constraints=constraints,
            obstacles=obstacles(constraints, kernels, target), deadline=begin + time_limit if time_limit else None,
        )  # fmt: skip
    verify(kernels, places, target)
    return PlaceResult(
        placed=places,
        constructive_cost=constructive_cost,
        cost=cost(kernels, places, wiring),
        box=_bounding_box(kernels, places),
        kernel_area=_area(kernels),
        margin=margin,
        status="OPTIMAL" if windows and all(w.status == "OPTIMAL" for w in windows) else "FEASIBLE",
        objective=sum(window.after for window in windows),
        bound=sum(window.bound for window in windows),
        windows=windows,
        seconds=time.perf_counter() - begin,
    )


def verify(kernels: Sequence[Footprint], places: Sequence[Placed], target: Target) -> None:
    """Raise WsecError unless kernels are disjoint, on usable live cores, and host ports at the west edge."""
    x0, y0, columns, rows = target.usable
    taken = np.full((rows, columns), -1, np.int32)
    dead = defects.mask(target.defects, target.usable)
    for index, (kernel, place) in enumerate(zip(kernels, places, strict=True)):
        x, y, w, h = place.box(kernel)
        x, y = x - x0, y - y0
        if x < 0 or y < 0 or x + w > columns or y + h > rows:
            raise WsecError(f"{kernel.name} stands outside the target", code="illegal-placement")
        if kernel.edge and (x or place.orientation.code):
            raise WsecError(f"{kernel.name} is not at the west edge", code="illegal-placement")
        if dead[y : y + h, x : x + w].any():
            raise WsecError(f"{kernel.name} covers a dead core", code="illegal-placement")
        under = taken[y : y + h, x : x + w]
        if (under >= 0).any():
            other = kernels[int(under.max())].name
            raise WsecError(f"{kernel.name} overlaps {other}", code="illegal-placement")
        under[:] = index


def _cores_short(kernels: Sequence[Footprint], target: Target, proof: str) -> Shortage:
    sizes = sorted(((kernel.name, kernel.cols * kernel.rows) for kernel in kernels), key=lambda size: -size[1])
    return Shortage("cores", target.name, _area(kernels), target.cores, proof, tuple(sizes[:8]))


def _area(kernels: Sequence[Footprint]) -> int:
    return sum(kernel.cols * kernel.rows for kernel in kernels)


def _bounding_box(kernels: Sequence[Footprint], places: Sequence[Placed]) -> Box:
    boxes = [place.box(kernel) for kernel, place in zip(kernels, places, strict=True)]
    west, north = min(box[0] for box in boxes), min(box[1] for box in boxes)
    east, south = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return west, north, east - west, south - north


def _check_demand(kernels: Sequence[Footprint], target: Target, constraints: Constraints) -> None:
    """The proofs that need no search: area, and each kernel alone."""
    _, _, columns, rows = target.usable
    hint = "use a larger target or a smaller model"
    if _area(kernels) > target.cores:
        message = f"the kernels need {_area(kernels)} cores, {target.name} has {target.cores} ({columns} x {rows})"
        short = _cores_short(kernels, target, "kernels do not overlap")
        raise InfeasibleError(message, code="too-many-cores", hint=hint, shortages=[short])
    room = Room(target)
    for index, kernel in enumerate(kernels):
        turned = not kernel.edge and room.fits(kernel.rows, kernel.cols)
        if not room.fits(kernel.cols, kernel.rows) and not turned:
            dead = f", {target.dead_cores} of them dead" if target.defects else ""
            message = f"needs {kernel.cols} x {kernel.rows} cores, {target.name} has {columns} x {rows}{dead}"
            most = room.most(kernel.cols, kernel.rows)
            proof = "every rectangle of live cores was looked at, upright and turned"
            short = Shortage("cores in one rectangle", kernel.name, kernel.cols * kernel.rows, most, proof)
            raise InfeasibleError(message, code="kernel-too-large", where=kernel.name, hint=hint, shortages=[short])
        _check_region(kernel, constraints, index)
    port_rows = sum(kernel.rows for kernel in kernels if kernel.edge)
    if port_rows > rows:
        message = f"the host ports need {port_rows} routers at the west edge, {target.name} has {rows}"
        short = Shortage("routers", "the west edge", port_rows, rows, "host lanes do not share a router")
        raise InfeasibleError(message, code="too-many-host-lanes", hint=hint, shortages=[short])


def _check_region(kernel: Footprint, constraints: Constraints, index: int) -> None:
    _, _, columns, rows = constraints.regions.get(index, (0, 0, kernel.cols, kernel.rows))
    upright = kernel.cols <= columns and kernel.rows <= rows
    if not upright and (kernel.edge or not (kernel.rows <= columns and kernel.cols <= rows)):
        message = f"{kernel.name} needs {kernel.cols} x {kernel.rows} cores, its region has {columns} x {rows}"
        where = constraints.where.get(index, "")
        short = Shortage("cores", "its region", kernel.cols * kernel.rows, columns * rows, "it must lie inside")
        levers = [Lever("--constraints", "a larger region", False)]
        raise InfeasibleError(message, code="region-too-small", where=where, shortages=[short], levers=levers)


def _construct(
    kernels: Sequence[Footprint], wiring: Sequence[Wire], target: Target, margin: int, constraints: Constraints
) -> tuple[list[Placed], Box, int] | None:
    """The cheapest constructive placement in the smallest size of region where there is one; its region and margin."""
    x, y, columns, rows = target.usable
    price = max(1, round(np.mean([wire.weight for wire in wiring]) / 8)) if wiring else 1
    demand = sum((kernel.cols + margin) * (kernel.rows + margin) for kernel in kernels)
    trials: list[list[tuple[int, int, int, tuple[tuple[int, int], ...]]]] = [
        [(*_shape(demand * factor, aspect, columns, rows), margin, SNAKES) for aspect in ASPECTS]
        for factor in AREA_FACTORS
    ]
    if constraints.fixed or constraints.regions:  # they name places anywhere
        trials = [[(columns, rows, margin, SNAKES)]]
    trials += [[(columns, rows, gap, TIGHT_SNAKES)] for gap in range(margin, -1, -1)]
    blocked = obstacles(constraints, kernels, target)
    for size in trials:
        best: tuple[int, list[Placed], Box, int] | None = None
        for width, height, gap, snakes in dict.fromkeys(size):
            region = (x, y, width, height)
            for band, steps in snakes:
                snake = Snake(width, band, price * steps)
                places = construct(kernels, wiring, region, snake, gap, constraints, blocked)
                value = cost(kernels, places, wiring) if places else 0
                if places and (best is None or value < best[0]):
                    best = value, places, region, gap
        if best:
            return best[1:]
    return None


def _shape(area: float, aspect: float, columns: int, rows: int) -> tuple[int, int]:
    """Width and height of a region of this area and about this aspect inside the target."""
    width = min(columns, math.ceil(math.sqrt(area * aspect)))
    height = min(rows, math.ceil(area / width))
    return min(columns, math.ceil(area / height)), height


def _pack(
    kernels: Sequence[Footprint], target: Target, constraints: Constraints, seed: int, limit: float
) -> list[Placed]:
    """Any legal placement without gaps, by CP-SAT. Raises InfeasibleError or LimitError."""
    movable = [index for index in range(len(kernels)) if index not in constraints.fixed]
    blocked = grown(obstacles(constraints, kernels, target), 0, target.usable)
    answer = solve(
        kernels, movable, target.usable, blocked, (), (),
        margin=0, first=0, seed=seed, limit=max(limit, 1.0), regions=constraints.regions,
    )  # fmt: skip
    if answer.places:
        places = {**answer.places, **constraints.fixed}
        return [places[index] for index in range(len(kernels))]
    need = f"{len(kernels)} kernels with {_area(kernels)} cores, {target.name} has {target.cores} cores"
    hint = "use a larger target or a smaller model"
    if answer.status == "INFEASIBLE":
        raise InfeasibleError(
            f"no arrangement of the kernels fits: {need}",
            code="no-placement",
            hint=hint,
            shortages=[_cores_short(kernels, target, "CP-SAT proved that the rectangles cannot be arranged")],
            levers=[Lever("--max-cores", "smaller kernels leave room to arrange them", False)],
        )
    raise LimitError(f"no placement found within the limit: {need}", code="placement-limit", hint=hint)
