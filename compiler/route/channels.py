"""The channels to route: every lane of every net, with its given routers, in the router's numbering of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.floorplan import Box, Footprint, Lane, Net, Placed, groups
from runtime.geometry import STEP, bit

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

    def box_cells(self, box: Box) -> Array:
        """The cells of a box of routers in fabric coordinates, row by row."""
        x, y, w, h = box
        return (self.cell(x, y) + np.arange(h)[:, None] * self.width + np.arange(w)).ravel()

    def step(self, direction: int) -> int:
        """What to add to a cell's number to get its neighbour's."""
        dx, dy = STEP[direction]
        return dy * self.width + dx


@dataclass(frozen=True)
class Tap:
    """Touching routers of one sink of a channel, which all give its wavelets to `outputs` (a mask).

    A path may enter at any of them. `west`, `north`, `east`, `south` bound them, in the region's columns and rows.
    """

    sink: int
    cells: Array
    outputs: int
    bounds: tuple[int, int, int, int]


@dataclass(frozen=True)
class Wanted:
    """A channel without its path: from `source`, whose wavelets come from `origin` (a mask), to all `taps`.

    The taps are in order of their distance from the source, the nearest first.
    """

    net: int
    lane: int
    words: int
    source: int
    origin: int
    taps: tuple[Tap, ...]
    reserved: Array  # the source and every cell of every tap
    distance: int  # Manhattan, to the farthest tap


def wanted(kernels: Sequence[Footprint], placed: Sequence[Placed], nets: Sequence[Net], region: Region) -> list[Wanted]:
    """All channels, by net and lane."""
    found = []
    for index, net in enumerate(nets):
        kernel, port = net.source
        for i, lane in enumerate(kernels[kernel].outputs[port]):
            source = region.cell(*placed[kernel].at(kernels[kernel], lane.col, lane.row))
            taps = [
                tap
                for number, (sink, name) in enumerate(net.sinks)
                for tap in _taps(number, kernels[sink], placed[sink], kernels[sink].inputs[name][i], region)
            ]
            taps.sort(key=lambda tap, source=source: _distance(tap, source, region))  # type: ignore[misc]
            reserved = np.concatenate([np.array([source]), *(tap.cells for tap in taps)])
            far = _distance(taps[-1], source, region)
            found.append(Wanted(index, i, net.words[i], source, bit(lane.source), tuple(taps), reserved, far))
    return found


def _taps(sink: int, kernel: Footprint, place: Placed, lane: Lane, region: Region) -> list[Tap]:
    outputs = bit(lane.sink)
    taps = []
    for group in groups([place.covered(kernel, box) for box in lane.boxes]):
        cells = np.concatenate([region.box_cells(box) for box in group])
        x, y = cells % region.width, cells // region.width
        taps.append(Tap(sink, cells, outputs, (int(x.min()), int(y.min()), int(x.max()), int(y.max()))))
    return taps


def _distance(tap: Tap, source: int, region: Region) -> int:
    """Manhattan distance of a cell from a tap's bounds."""
    x, y = source % region.width, source // region.width
    west, north, east, south = tap.bounds
    return max(west - x, 0, x - east) + max(north - y, 0, y - south)
