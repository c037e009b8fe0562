"""The placement of a sized program: kernels in the strips its size was chosen for, host ports beside their kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compiler import floorplan
from compiler.floorplan import Box, Footprint, Net, Placed
from compiler.place.mirror import mirror
from compiler.place.placer import verify
from compiler.place.strips import Frame, arrange
from compiler.place.wire import Wire, cost, wires
from runtime import defects
from runtime.errors import InfeasibleError
from runtime.geometry import Orientation
from runtime.target import Target

NOTHING: Mapping[int, int] = {}


@dataclass(frozen=True)
class Stacked:
    """A legal placement. Wire is in lane-hops: lanes times Manhattan distance, summed over the wires of `place.wire`.

    `wire_bound` counts for every lane and sink the one hop between two kernels.
    """

    placed: list[Placed]
    wire: int
    wire_bound: int
    longest: int  # Manhattan, in hops
    longest_net: str
    box: Box  # (x, y, columns, rows) around all kernels
    kernel_area: int


def stack(
    kernels: Sequence[Footprint], nets: Sequence[Net], target: Target, frame: Frame, *,
    keep_out: Sequence[Box] = (), beside: Mapping[int, int] = NOTHING,
) -> Stacked:  # fmt: skip
    """Places for `kernels`, given in topological order, in the strips of `frame`, clear of dead cores and `keep_out`.

    `beside`: rows of cores that stand at the output side of another kernel, see `strips.arrange`. Raises
    InfeasibleError if the strips do not hold them.
    """
    floorplan.check(kernels, nets)
    wiring = wires(kernels, nets)
    obstacles = (*target.defects, *keep_out)
    try:
        found = arrange(kernels, frame, obstacles, target, beside)
    except ValueError as error:
        hint = "use a larger target, a smaller --max-cores, or fewer keep-outs"
        raise InfeasibleError(str(error), code="no-placement", hint=hint) from error
    mirror(kernels, nets, found)
    found.update(_ports(kernels, wiring, found, obstacles, target))
    places = [found[index] for index in range(len(kernels))]
    verify(kernels, places, target)
    longest, net = _longest(kernels, nets, places)
    boxes = [place.box(kernel) for kernel, place in zip(kernels, places, strict=True)]
    west, north = min(box[0] for box in boxes), min(box[1] for box in boxes)
    east, south = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return Stacked(
        placed=places,
        wire=cost(kernels, places, wiring),
        wire_bound=sum(wire.weight for wire in wiring),
        longest=longest,
        longest_net=net,
        box=(west, north, east - west, south - north),
        kernel_area=sum(kernel.cols * kernel.rows for kernel in kernels),
    )


def _ports(
    kernels: Sequence[Footprint], wiring: Sequence[Wire], places: dict[int, Placed], obstacles: Sequence[Box],
    target: Target,
) -> dict[int, Placed]:  # fmt: skip
    """Host ports as near as the west edge allows to what they are wired to, the widest first."""
    x0, y0, _, rows = target.usable
    free = ~defects.mask(obstacles, (x0, y0, 1, rows)).ravel()
    found = {}
    ports = [i for i, kernel in enumerate(kernels) if kernel.edge]
    for port in sorted(ports, key=lambda i: (-kernels[i].rows, i)):
        need = kernels[port].rows
        wanted = _wanted_row(port, kernels, wiring, places) - y0 - need // 2
        spots = [y for y in range(rows - need + 1) if free[y : y + need].all()]
        if not spots:
            message = f"the west edge has no {need} free routers in a row for {kernels[port].name}"
            raise InfeasibleError(message, code="too-many-host-lanes", hint="use a larger target or a smaller model")
        y = min(spots, key=lambda y: (abs(y - wanted), y))
        free[y : y + need] = np.False_
        found[port] = Placed(x0, y0 + y, Orientation(0))
    return found


def _wanted_row(port: int, kernels: Sequence[Footprint], wiring: Sequence[Wire], places: dict[int, Placed]) -> int:
    """The mean row of the routers a port is wired to."""
    rows = []
    for wire in wiring:
        for here, there in ((wire.source, wire.sink), (wire.sink, wire.source)):
            if here[0] == port and there[0] in places:
                rows.append(places[there[0]].at(kernels[there[0]], *there[1:])[1])
    return sum(rows) // len(rows) if rows else 0


def _longest(kernels: Sequence[Footprint], nets: Sequence[Net], places: Sequence[Placed]) -> tuple[int, str]:
    """The longest wire between a lane's ends, in hops, and its net."""
    longest, name = 0, ""
    for net in nets:
        source, port = net.source
        for sink, end in net.sinks:
            for a, b in zip(kernels[source].outputs[port], kernels[sink].inputs[end], strict=True):
                ax, ay = places[source].at(kernels[source], a.col, a.row)
                bx, by = places[sink].at(kernels[sink], b.col, b.row)
                if abs(ax - bx) + abs(ay - by) > longest:
                    longest, name = abs(ax - bx) + abs(ay - by), net.name
    return longest, name
