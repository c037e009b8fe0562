"""The channels to route: every lane of every net, with its given routers, in the router's numbering of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.floorplan import Footprint, Net, Pattern, Placed
from runtime.geometry import OPPOSITE, STEP, bit

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Region:
    """The rectangle of routers that routes may use; cell number = (y - self.y) * width + (x - self.x)."""

    x: int
    y: int
    width: int
    height: int

    @property
    def cells(self) -> int:
        return self.width * self.height

    def cell(self, x: int, y: int) -> int:
        return (y - self.y) * self.width + x - self.x

    def at(self, cell: int) -> tuple[int, int]:
        """Fabric coordinates of a cell."""
        return self.x + cell % self.width, self.y + cell // self.width

    def distance(self, a: int, b: int) -> int:
        """Manhattan distance of two cells."""
        (ax, ay), (bx, by) = self.at(a), self.at(b)
        return abs(ax - bx) + abs(ay - by)

    def step(self, direction: int) -> int:
        """What to add to a cell's number to get its neighbour's."""
        dx, dy = STEP[direction]
        return dy * self.width + dx


@dataclass(frozen=True)
class Tap:
    """One sink of a channel: its tail's cells, the entry first, with their masks (the entry's inputs are open: 0)."""

    cells: Array
    inputs: Array
    outputs: Array

    @property
    def entry(self) -> int:
        return int(self.cells[0])

    @property
    def sides(self) -> int:
        """Mask of the directions from which a path may enter."""
        return int(~self.outputs[0] & 0b1111)


@dataclass(frozen=True)
class Wanted:
    """A channel without its path: from `source`, whose wavelets come from `origin` (a mask), to all `taps`.

    `order` lists the taps by distance from the source, the nearest first.
    """

    net: int
    lane: int
    words: int
    source: int
    origin: int
    taps: tuple[Tap, ...]
    order: tuple[int, ...]
    reserved: Array  # the source and every cell of every tail
    distance: int  # Manhattan, to the farthest tap


def wanted(kernels: Sequence[Footprint], placed: Sequence[Placed], nets: Sequence[Net], region: Region) -> list[Wanted]:
    """All channels, by net and lane."""
    found = []
    for index, net in enumerate(nets):
        kernel, port = net.source
        for i, lane in enumerate(kernels[kernel].outputs[port]):
            sinks = [(sink, kernels[sink].inputs[name][i]) for sink, name in net.sinks]
            taps = tuple(_tap(placed[sink].pattern(kernels[sink], end), region) for sink, end in sinks)
            source = region.cell(*placed[kernel].at(kernels[kernel], lane.col, lane.row))
            far = [region.distance(source, tap.entry) for tap in taps]
            reserved = np.concatenate([np.array([source]), *(tap.cells for tap in taps)])
            order = tuple(sorted(range(len(taps)), key=far.__getitem__))
            found.append(Wanted(index, i, net.words[i], source, bit(lane.source), taps, order, reserved, max(far)))
    return found


def _tap(pattern: Pattern, region: Region) -> Tap:
    cells = [region.cell(x, y) for x, y, _ in pattern]
    place = {cell: i for i, cell in enumerate(cells)}
    inputs = [0] * len(cells)
    host_side = len(cells) == 1  # a lone router's only output besides RAMP leads to the host
    masks = [outputs for _, _, outputs in pattern]
    for cell, outputs in zip(cells, masks, strict=True):
        for direction in range(4):
            if outputs >> direction & 1 and not host_side:
                inputs[place[cell + region.step(direction)]] = bit(OPPOSITE[direction])
    return Tap(np.array(cells, np.int64), np.array(inputs, np.uint8), np.array(masks, np.uint8))
