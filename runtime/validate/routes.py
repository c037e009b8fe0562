"""Rule b: the router tables make every channel one tree from its source to exactly the queues bound to it.

A *node* is a router and a colour. If every node takes wavelets from exactly one side that really sends any, each node
has one predecessor, so the nodes reached from a source form a tree, two trees never meet, and a node that no source
reaches is part of a loop or hangs on one. That is all there is to check; it is done for whole arrays at once, over the
rectangle of routers in use and one more around it, indexed [colour, y, x].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.geometry import DIRECTION_NAMES, OPPOSITE, RAMP, STEP, bit, mask_text
from runtime.image import Image, PortLane
from runtime.tables import Array, core_positions, expand_routes
from runtime.validate.report import Report, at


@dataclass
class Channels:
    """Channel i starts at writer `source[i]` and fills readers `sink[sink_channel == i]`.

    Writers number (core, output queue) as core*6 + queue, then the lanes of input ports; readers number (core, input
    queue) as core*8 + queue, then the lanes of output ports. `nodes` are the flat indices of all nodes on a tree,
    `node_channel` their channels; `grid` turns them into places.
    """

    source: Array
    sink: Array
    sink_channel: Array
    nodes: Array
    node_channel: Array
    grid: Grid


@dataclass(frozen=True)
class Grid:
    """The rectangle of routers in use with a border of one, and its tables of port masks, uint8[colours, h, w]."""

    x0: int
    y0: int
    inputs: Array
    outputs: Array

    @property
    def steps(self) -> tuple[int, ...]:
        """Change of the flat index by a hop in each direction."""
        return tuple(dy * self.inputs.shape[2] + dx for dx, dy in STEP)

    def place(self, node: int) -> tuple[int, int, int]:
        """Colour, x, y of a flat index."""
        colour, y, x = np.unravel_index(node, self.inputs.shape)
        return int(colour), int(x) + self.x0, int(y) + self.y0

    def flat(self, colour: Any, x: Any, y: Any) -> Any:
        """Flat index of colour at fabric coordinates; scalars or arrays."""
        _, height, width = self.inputs.shape
        return (colour * height + (y - self.y0)) * width + (x - self.x0)


def lanes(image: Image, direction: str) -> list[tuple[str, PortLane]]:
    """Host lanes of one direction with a name for people, in the order that numbers them."""
    return [
        (f"lane {number} of port {port.name}", lane)
        for port in image.ports
        if port.direction == direction
        for number, lane in enumerate(port.lanes)
    ]


def check_routes(image: Image, report: Report) -> Channels | None:
    """All channels of the image, or None if the tables are too broken to follow."""
    if not _check_rectangles(image, report):
        return None
    grid = _grid(image, report)
    if grid is None:
        return None
    check = _RouteCheck(image, report, grid)
    return check.run()


def _check_rectangles(image: Image, report: Report) -> bool:
    """Rectangles lie in the usable part, have valid colours, and are not so many that they must overlap."""
    routes, target = image.routes, image.target
    left, top, columns, rows = target.usable
    x, y = routes["x"].astype(np.int64), routes["y"].astype(np.int64)
    inside = (x >= left) & (y >= top) & (x + routes["w"] <= left + columns) & (y + routes["h"] <= top + rows)
    inside &= (routes["w"] > 0) & (routes["h"] > 0)
    colour = routes["colour"] < target.colours
    masks = (routes["inputs"] < 32) & (routes["outputs"] < 32)
    for i in np.flatnonzero(~inside):
        report.add(
            "route-outside", f"route {routes[i].tolist()} is empty or leaves the usable rectangle", _where(routes[i])
        )
    for i in np.flatnonzero(~colour):
        message = f"colour {routes['colour'][i]}; programs have 0..{target.colours - 1}"
        report.add("colour-range", message, _where(routes[i]))
    for i in np.flatnonzero(~masks):
        report.add("route-mask", f"route {routes[i].tolist()} names a direction that does not exist", _where(routes[i]))
    entries = int(np.sum(routes["w"].astype(np.int64) * routes["h"]))
    if entries > columns * rows * target.colours:
        report.add("route-overlap", f"{entries} router entries are more than the routers have")
        return False
    return bool(np.all(inside & colour & masks))


def _where(route: Any) -> str:
    return f"router {at(int(route['x']), int(route['y']))}"


def _grid(image: Image, report: Report) -> Grid | None:
    """Expand the rectangles; None if a router has two entries for one colour."""
    core_x, core_y = core_positions(image)
    ports = [lane for port in image.ports for lane in port.lanes]
    rectangle, x, y = expand_routes(image.routes)
    all_x = np.concatenate([core_x, x, [lane.x for lane in ports]])
    all_y = np.concatenate([core_y, y, [lane.y for lane in ports]])
    if not len(all_x):
        all_x = all_y = np.zeros(1)
    x0, y0 = int(all_x.min()) - 1, int(all_y.min()) - 1
    shape = (image.target.colours, int(all_y.max()) + 2 - y0, int(all_x.max()) + 2 - x0)
    grid = Grid(x0, y0, np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))
    nodes = grid.flat(image.routes["colour"].astype(np.int64)[rectangle], x, y)
    ordered = np.sort(nodes)
    doubled = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    for node in doubled:
        colour, px, py = grid.place(int(node))
        report.add("route-overlap", f"two entries for colour {colour}", f"router {at(px, py)}")
    if len(doubled):
        return None
    grid.inputs.reshape(-1)[nodes] = image.routes["inputs"][rectangle]
    grid.outputs.reshape(-1)[nodes] = image.routes["outputs"][rectangle]
    return grid


class _RouteCheck:
    """The check of one image; arrays are flat views over [colour, y, x]."""

    def __init__(self, image: Image, report: Report, grid: Grid) -> None:
        self.image, self.report, self.grid = image, report, grid
        self.inputs, self.outputs = grid.inputs.reshape(-1), grid.outputs.reshape(-1)
        self.core_x, self.core_y = core_positions(image)
        self.in_lanes = self._usable_lanes("in")
        self.out_lanes = self._usable_lanes("out")
        self.writers, self.writer_nodes = self._bound("outq", self.in_lanes)
        self.readers, self.reader_nodes = self._bound("inq", self.out_lanes)
        self.channel = np.full(self.inputs.size, -1, np.int32)
        self.fed = self._fed()

    def run(self) -> Channels:
        self._grow_trees()
        self._check_hops()
        self._check_collisions()
        self._check_dangling()
        sink_channel = self._check_sinks()
        nodes = np.flatnonzero(self.channel >= 0)
        return Channels(self.writers, self.readers, sink_channel, nodes, self.channel[nodes], self.grid)

    def _usable_lanes(self, direction: str) -> list[tuple[int, str, PortLane]]:
        """Lanes with their number; those not at the edge of the usable rectangle are reported and left out."""
        left, top, columns, rows = self.image.target.usable
        found: list[tuple[int, str, PortLane]] = []
        places: set[tuple[int, int, int, int]] = set()
        for number, (name, lane) in enumerate(lanes(self.image, direction)):
            dx, dy = STEP[lane.side]
            on = left <= lane.x < left + columns and top <= lane.y < top + rows
            beyond = not (left <= lane.x + dx < left + columns and top <= lane.y + dy < top + rows)
            key = (lane.x, lane.y, lane.side, lane.colour)
            if not on or not beyond or not 0 <= lane.colour < self.image.target.colours:
                self.report.add(
                    "port-place",
                    f"{at(lane.x, lane.y)} side {DIRECTION_NAMES[lane.side]} colour {lane.colour} is not at the edge "
                    "of the usable rectangle, or the colour does not exist",
                    name,
                )
            elif key in places:
                self.report.add("port-place", "another lane meets the fabric at the same side and colour", name)
            else:
                places.add(key)
                found.append((number, name, lane))
        if len(found) > self.image.target.host_channels:
            message = f"{len(found)} {direction} lanes; the host has {self.image.target.host_channels} channels"
            self.report.add("port-count", message)
        return found

    def _bound(self, field: str, host: list[tuple[int, str, PortLane]]) -> tuple[Array, Array]:
        """Numbers of all bound queues and lanes (see Channels), and their nodes."""
        table = self.image.cores[field]
        bound = (table >= 0) & (table < self.image.target.colours)
        core, queue = np.nonzero(bound)
        nodes = self.grid.flat(table[core, queue].astype(np.int64), self.core_x[core], self.core_y[core])
        lane_numbers = [table.size + number for number, _, _ in host]
        lane_nodes = [self.grid.flat(lane.colour, lane.x, lane.y) for _, _, lane in host]
        numbers = np.concatenate([core * table.shape[1] + queue, lane_numbers]).astype(np.int64)
        return numbers, np.concatenate([nodes, lane_nodes]).astype(np.int64)

    def _writer_bits(self) -> Array:
        """The router port each writer sends into: the ramp, or the side of its lane."""
        cores = len(self.writers) - len(self.in_lanes)
        return np.array([bit(RAMP)] * cores + [bit(lane.side) for _, _, lane in self.in_lanes], np.uint8)

    def _fed(self) -> Array:
        """Per node, the sides from which something may come."""
        fed = np.zeros_like(self.inputs)
        for direction, step in enumerate(self.grid.steps):
            senders = np.flatnonzero(self.outputs & bit(direction))
            fed[senders + step] |= bit(OPPOSITE[direction])
        np.bitwise_or.at(fed, self.writer_nodes, self._writer_bits())
        for _, _, lane in self.out_lanes:  # what leaves through a host port meets no router
            node = self.grid.flat(lane.colour, lane.x, lane.y) + self.grid.steps[lane.side]
            fed[node] &= ~np.uint8(bit(OPPOSITE[lane.side]))
        return fed

    def _grow_trees(self) -> None:
        """Give every node reached from a source the number of its channel, one hop of all channels at a time."""
        takes = (self.inputs[self.writer_nodes] & self._writer_bits()) != 0
        front = self.writer_nodes[takes]
        self.channel[front] = np.flatnonzero(takes)
        while len(front):
            nexts = []
            for direction, step in enumerate(self.grid.steps):
                senders = front[(self.outputs[front] & bit(direction)) != 0]
                reached = senders + step
                new = ((self.inputs[reached] & bit(OPPOSITE[direction])) != 0) & (self.channel[reached] < 0)
                self.channel[reached[new]] = self.channel[senders[new]]
                nexts.append(reached[new])
            front = np.concatenate(nexts)

    def _check_hops(self) -> None:
        """Whatever is sent somewhere is taken there, and whatever is taken comes from somewhere."""
        for direction, step in enumerate(self.grid.steps):
            side = OPPOSITE[direction]
            reached = np.flatnonzero(self.outputs & bit(direction)) + step
            lost = reached[(self.fed[reached] & ~self.inputs[reached] & bit(side)) != 0]
            for node in self._told("broken-hop", lost):
                self._broken_hop(int(node), side)
        bits = self._writer_bits()
        refused = np.flatnonzero((self.inputs[self.writer_nodes] & bits) == 0)
        for i in self._told("unrouted-source", refused):
            node = int(self.writer_nodes[i])
            side = bits[i].item().bit_length() - 1
            self.report.add("unrouted-source", f"{self._does_not_accept(node, side)}", self._writer_name(int(i)))
        unfed = np.flatnonzero(self.inputs & ~self.fed)
        for node in self._told("unfed-input", unfed):
            colour, x, y = self.grid.place(int(node))
            missing = mask_text(int(self.inputs[node] & ~self.fed[node]))
            self.report.add(
                "unfed-input", f"colour {colour} is accepted from {missing}, where nothing sends it", _router(x, y)
            )

    def _broken_hop(self, node: int, side: int) -> None:
        before = node + self.grid.steps[side]
        colour, x, y = self.grid.place(node)
        _, from_x, from_y = self.grid.place(before)
        hop = f"hop {at(from_x, from_y)}->{at(x, y)}"
        message = f"{self._channel_name(before, colour)}: {hop}: {self._does_not_accept(node, side)}"
        self.report.add("broken-hop", message, _router(from_x, from_y))

    def _does_not_accept(self, node: int, side: int) -> str:
        colour, x, y = self.grid.place(node)
        left, top, columns, rows = self.image.target.usable
        if not (left <= x < left + columns and top <= y < top + rows):
            return "leaves the usable rectangle where no output port is"
        if not self.inputs[node] and not self.outputs[node]:
            return f"router has no entry for colour {colour}"
        return f"router does not accept {DIRECTION_NAMES[side]}; it accepts {mask_text(int(self.inputs[node]))}"

    def _check_collisions(self) -> None:
        carried = self.inputs & self.fed
        several = np.flatnonzero(carried & (carried - np.uint8(1)))  # more than one bit; 0 - 1 wraps to all bits
        for node in self._told("collision", several):
            colour, x, y = self.grid.place(int(node))
            sides = mask_text(int(carried[node]))
            self.report.add(
                "collision", f"colour {colour} arrives from {sides}; only one side may carry it", _router(x, y)
            )

    def _check_dangling(self) -> None:
        entries = (self.inputs | self.outputs) != 0
        for node in self._told("dead-end", np.flatnonzero(entries & (self.outputs == 0))):
            colour, x, y = self.grid.place(int(node))
            self.report.add("dead-end", f"colour {colour} is taken but sent nowhere", _router(x, y))
        for node in self._told("dangling", np.flatnonzero(entries & (self.channel < 0))):
            colour, x, y = self.grid.place(int(node))
            loop = self._loop(int(node))
            if loop:
                self.report.add("route-loop", f"colour {colour} runs in a loop: {loop}", _router(x, y))
            else:
                self.report.add("dangling", f"no source reaches the entry of colour {colour}", _router(x, y))

    def _loop(self, node: int) -> str:
        """The loop that a node lies on, as hops, or an empty text."""
        path = [node]
        passed = {node}
        while True:
            carried = int(self.inputs[path[-1]] & self.fed[path[-1]]) & ~bit(RAMP)
            if not carried:
                return ""
            side = carried.bit_length() - 1
            path.append(path[-1] + self.grid.steps[side])
            if path[-1] == node:
                places = [at(*self.grid.place(n)[1:]) for n in reversed(path)]
                return "->".join(places[:8] + ["..."] * (len(places) > 8))
            if path[-1] in passed:
                return ""
            passed.add(path[-1])

    def _check_sinks(self) -> Array:
        """The channel of every bound input queue and output lane, -1 where none arrives."""
        cores = len(self.readers) - len(self.out_lanes)
        bits = np.array([bit(RAMP)] * cores + [bit(lane.side) for _, _, lane in self.out_lanes], np.uint8)
        arrives = (self.outputs[self.reader_nodes] & bits) != 0
        channel = np.where(arrives, self.channel[self.reader_nodes], -1)
        for i in self._told("unfed-queue", np.flatnonzero(channel < 0)):
            colour, x, y = self.grid.place(int(self.reader_nodes[i]))
            message = f"nothing arrives on colour {colour} at {at(x, y)}"
            self.report.add("unfed-queue", message, self._reader_name(int(i)))
        read = np.zeros(self.outputs.size, bool)
        read[self.reader_nodes[:cores]] = True
        unread = np.flatnonzero(((self.outputs & bit(RAMP)) != 0) & ~read)
        for node in self._told("unread-ramp", unread):
            colour, x, y = self.grid.place(int(node))
            message = f"{self._channel_name(int(node), colour)} goes to the core, which binds no input queue to it"
            self.report.add("unread-ramp", message, f"core {at(x, y)}")
        return np.asarray(channel)

    def _told(self, code: str, items: Array) -> Array:
        """The items to tell in full; the rest is only counted."""
        left = self.report.room(code)
        self.report.add_untold(code, max(0, len(items) - left))
        return items[:left]

    def _channel_name(self, node: int, colour: int) -> str:
        channel = int(self.channel[node])
        if channel < 0:
            return f"colour {colour} (from no source)"
        return f"channel from {self._writer_name(channel)} colour {colour}"

    def _writer_name(self, i: int) -> str:
        _, x, y = self.grid.place(int(self.writer_nodes[i]))
        cores = len(self.writers) - len(self.in_lanes)
        if i >= cores:
            return self.in_lanes[i - cores][1]
        return f"core {at(x, y)} output queue {self.writers[i] % self.image.cores['outq'].shape[1]}"

    def _reader_name(self, i: int) -> str:
        _, x, y = self.grid.place(int(self.reader_nodes[i]))
        cores = len(self.readers) - len(self.out_lanes)
        if i >= cores:
            return self.out_lanes[i - cores][1]
        return f"core {at(x, y)} input queue {self.readers[i] % self.image.cores['inq'].shape[1]}"


def _router(x: int, y: int) -> str:
    return f"router {at(x, y)}"
