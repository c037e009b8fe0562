"""From router tables to wires: every source of wavelets is followed hop by hop to all the queues it fills.

Nothing else connects two cores. What the tables get wrong is a `MachineFault` with its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime import defects
from runtime.faults import MachineFault
from runtime.geometry import OPPOSITE, RAMP, STEP, bit
from runtime.image import Image, PortLane
from runtime.jit import entry
from runtime.target import Target

Array = np.ndarray[Any, Any]

FAULTS = (
    ("", ""),
    ("route-refused", "the router does not take this colour from this direction"),
    ("route-off-wafer", "the route leaves the usable part of the wafer where no host port is"),
    ("route-no-queue", "the route ends at a core that has no input queue bound to this colour"),
    ("route-loop", "the route comes back to a router it has passed"),
    ("route-two-sources", "a second source is routed to this input queue"),
    ("route-dead-end", "the router takes this colour but sends it nowhere"),
)
OK, REFUSED, OFF_WAFER, NO_QUEUE, LOOP, TWO_SOURCES, DEAD_END = range(len(FAULTS))


@dataclass(frozen=True)
class Window:
    """The rectangle of routers in use; tables are indexed [y - y0, x - x0, colour]."""

    x0: int
    y0: int
    width: int
    height: int


@dataclass(frozen=True)
class Wires:
    """Where each source's wavelets go: source s fills queues `sinks[first[s]:first[s+1]]`."""

    first: Array
    sinks: Array


def window_of(target: Target) -> Window:
    """All routers that programs may use."""
    return Window(*target.usable)


@entry
def _paint(routes: Array, x0: int, y0: int, inputs: Array, outputs: Array) -> int:
    """Expand rectangles; the index of the first route that configures a router's colour twice, or -1."""
    for i in range(len(routes)):
        x, y, w, h = routes[i, 0], routes[i, 1], routes[i, 2], routes[i, 3]
        colour, takes, gives = routes[i, 4], routes[i, 5], routes[i, 6]
        for row in range(y - y0, y - y0 + h):
            for col in range(x - x0, x - x0 + w):
                if inputs[row, col, colour] | outputs[row, col, colour]:
                    return i
                inputs[row, col, colour] = takes
                outputs[row, col, colour] = gives
    return -1


def tables(image: Image, window: Window) -> tuple[Array, Array]:
    """Input and output masks of every router in the window."""
    routes = np.stack([image.routes[name].astype(np.int64) for name in image.routes.dtype.names or ()], axis=1)
    routes = np.ascontiguousarray(routes)
    x, y, w, h, colour, takes, gives = routes.T
    wrong = (x < window.x0) | (y < window.y0) | (x + w > window.x0 + window.width) | (y + h > window.y0 + window.height)
    wrong |= (colour >= image.target.colours) | ((takes | gives) >= bit(RAMP + 1))
    if wrong.any():
        row = routes[int(np.argmax(wrong))]
        message = f"route over {row[2]} x {row[3]} routers leaves the usable wafer, or has no such colour or port"
        raise MachineFault(message, code="route-range", x=int(row[0]), y=int(row[1]), colour=int(row[4]))
    _check_alive(image, window, routes)
    shape = (window.height, window.width, image.target.colours)
    inputs, outputs = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    twice = _paint(routes, window.x0, window.y0, inputs, outputs)
    if twice >= 0:
        row = routes[twice]
        message = f"route over {row[2]} x {row[3]} routers configures a router's colour a second time"
        raise MachineFault(message, code="route-twice", x=int(row[0]), y=int(row[1]), colour=int(row[4]))
    return inputs, outputs


def _check_alive(image: Image, window: Window, routes: Array) -> None:
    """No route passes a dead router. A summed-area table counts the dead ones under all rectangles at once."""
    if not image.target.defects:
        return
    dead = defects.mask(image.target.defects, (window.x0, window.y0, window.width, window.height))
    sums = np.pad(dead.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    x, y, w, h = routes.T[:4]
    x, y = x - window.x0, y - window.y0
    under = sums[y + h, x + w] - sums[y, x + w] - sums[y + h, x] + sums[y, x]
    if under.any():
        row = int(np.argmax(under > 0))
        down, right = np.argwhere(dead[y[row] : y[row] + h[row], x[row] : x[row] + w[row]])[0]
        at_x, at_y, colour = int(routes[row, 0] + right), int(routes[row, 1] + down), int(routes[row, 4])
        raise MachineFault("a route passes this dead router", code="dead-router", x=at_x, y=at_y, colour=colour)


_STEPS = np.array(STEP, np.int64)
_OPPOSITE = np.array(OPPOSITE, np.int64)


@entry
def _trace(
    sources: Array,
    inputs: Array,
    outputs: Array,
    queues: Array,
    exits: Array,
    steps: Array,
    opposite: Array,
    fed: Array,
    seen: Array,
    stack: Array,
    sinks: Array,
    first: Array,
    fault: Array,
    mergers: int,
) -> int:
    """Walk the tree of each source (col, row, direction it enters by, colour).

    Of the first `mergers` sources, one that comes to a queue that has a source already does not fill it.

    queues[row, col, colour] and exits[i] = (col, row, side, colour, queue) name the queues at the ends. fed
    [queues], seen [rows, cols] and stack [rows * cols, 3] are work space, the first two filled with -1. Fills sinks and
    first[s+1]; returns a fault number and fault = (col, row, direction, colour).
    """
    height, width, _ = inputs.shape
    count = 0
    for s in range(len(sources)):
        colour = sources[s, 3]
        stack[0, 0], stack[0, 1], stack[0, 2] = sources[s, 0], sources[s, 1], sources[s, 2]
        seen[sources[s, 1], sources[s, 0]] = s
        depth = 1
        while depth:
            depth -= 1
            col, row, side = stack[depth, 0], stack[depth, 1], stack[depth, 2]
            fault[0], fault[1], fault[2], fault[3] = col, row, side, colour
            if not inputs[row, col, colour] >> side & 1:
                return REFUSED
            mask = outputs[row, col, colour]
            if mask == 0:
                return DEAD_END
            for direction in range(5):
                if not mask >> direction & 1:
                    continue
                fault[2] = direction
                queue = -1
                if direction == RAMP:
                    queue = queues[row, col, colour]
                    if queue < 0:
                        return NO_QUEUE
                else:
                    next_col, next_row = col + steps[direction, 0], row + steps[direction, 1]
                    if 0 <= next_col < width and 0 <= next_row < height:
                        if seen[next_row, next_col] == s:
                            return LOOP
                        seen[next_row, next_col] = s
                        stack[depth, 0], stack[depth, 1], stack[depth, 2] = next_col, next_row, opposite[direction]
                        depth += 1
                        continue
                    for e in range(len(exits)):
                        if (
                            exits[e, 0] == col
                            and exits[e, 1] == row
                            and exits[e, 2] == direction
                            and exits[e, 3] == colour
                        ):
                            queue = exits[e, 4]
                    if queue < 0:
                        return OFF_WAFER
                if fed[queue] >= 0:
                    if s < mergers:
                        continue
                    return TWO_SOURCES
                fed[queue] = s
                sinks[count] = queue
                count += 1
        first[s + 1] = count
    return OK


def _lane(image: Image, window: Window, lane: PortLane) -> tuple[int, int, int, int]:
    """(col, row, side, colour) of a host lane, which must stand on an outer side of the window."""
    col, row = lane.x - window.x0, lane.y - window.y0
    inside = 0 <= col < window.width and 0 <= row < window.height
    if not inside or not 0 <= lane.side < RAMP or not 0 <= lane.colour < image.target.colours:
        raise MachineFault("a host port lane is not on the wafer", code="port-place", x=lane.x, y=lane.y)
    dx, dy = STEP[lane.side]
    if 0 <= col + dx < window.width and 0 <= row + dy < window.height:
        raise MachineFault(
            "a host port lane is not on the edge of the usable wafer",
            code="port-place",
            x=lane.x,
            y=lane.y,
            colour=lane.colour,
            direction=lane.side,
        )
    return col, row, lane.side, lane.colour


def connect(
    image: Image,
    core_xy: Array,
    inputs: Array,
    outputs: Array,
    lanes_in: list[PortLane],
    lanes_out: list[PortLane],
    *,
    merge: bool = False,
) -> Wires:
    """Trace all sources: first the core outputs, then the host's input lanes.

    merge: routes of core outputs may run into one another; the first source then stands for all that fill a queue.

    core_xy: [cores, 2] coordinates. inputs, outputs: [queues, 2], the core and colour of each bound queue. Host output
    lane l fills queue len(inputs) + l. Raises MachineFault.
    """
    window = window_of(image.target)
    takes, gives = tables(image, window)
    origin = np.array([window.x0, window.y0], np.int32)
    local = core_xy - origin
    queues = np.full(takes.shape, -1, np.int32)
    owner, colour = inputs.T
    queues[local[owner, 1], local[owner, 0], colour] = np.arange(len(inputs))
    hosts = [_lane(image, window, lane) for lane in lanes_in]
    ramps = np.full(len(outputs), RAMP, np.int32)
    from_cores = np.column_stack([local[outputs[:, 0]], ramps, outputs[:, 1]])
    sources = np.concatenate([from_cores, np.array(hosts, np.int32).reshape(-1, 4)]).astype(np.int64)
    exits = [(*_lane(image, window, lane), len(inputs) + i) for i, lane in enumerate(lanes_out)]
    total, routers = len(inputs) + len(lanes_out), window.height * window.width
    sinks, first = np.zeros(total, np.int64), np.zeros(len(sources) + 1, np.int64)
    fed, seen = np.full(total, -1, np.int32), np.full((window.height, window.width), -1, np.int32)
    stack, fault = np.zeros((routers, 3), np.int64), np.zeros(4, np.int64)
    ends = np.array(exits, np.int64).reshape(-1, 5)
    number = _trace(
        sources,
        takes,
        gives,
        queues,
        ends,
        _STEPS,
        _OPPOSITE,
        fed,
        seen,
        stack,
        sinks,
        first,
        fault,
        len(outputs) if merge else 0,
    )
    if number != OK:
        code, message = FAULTS[number]
        x, y, direction, at_colour = int(fault[0]) + window.x0, int(fault[1]) + window.y0, int(fault[2]), int(fault[3])
        raise MachineFault(message, code=code, x=x, y=y, colour=at_colour, direction=direction)
    return Wires(first, sinks[: first[-1]].copy())
