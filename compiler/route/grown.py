"""The tree of a channel: routed, and while it grows from its source, tap by tap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.route.channels import Wanted

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Routed:
    """A routed channel: its routers with their masks, each once, and the links from the source to each sink."""

    colour: int
    cost: int
    cells: Array
    inputs: Array
    outputs: Array
    reach: tuple[int, ...]
    length: int  # links outside the sinks' taps


class Grown:
    """A tree while it grows from its source, tap by tap."""

    def __init__(self, channel: Wanted) -> None:
        self.cells = np.array([channel.source], np.int64)
        self.inputs = np.array([channel.origin], np.uint8)
        self.outputs = np.zeros(1, np.uint8)
        self.depth = np.zeros(1, np.int64)
        self.length = 0
        self.reach: dict[int, int] = {}

    def add(self, path: Array, reached: Array, spread: tuple[Array, Array, Array, Array], sink: int) -> None:
        """A path from a router of the tree to a tap, and the routers the tap spreads to from the path's end."""
        cells, inputs, outputs, depth = spread
        start = int(np.flatnonzero(self.cells == path[0])[0])
        steps = (1 << reached[1:].astype(np.int64)).astype(np.uint8)
        came = (1 << ((reached[1:].astype(np.int64) + 2) % 4)).astype(np.uint8)
        if len(path) > 1:
            self.outputs[start] |= steps[0]
        between = path[1:-1]
        at = int(self.depth[start])
        self.cells = np.concatenate([self.cells, between, cells])
        self.inputs = np.concatenate([self.inputs, came[:-1], inputs])
        self.outputs = np.concatenate([self.outputs, steps[1:], outputs])
        self.depth = np.concatenate([self.depth, at + 1 + np.arange(len(between)), at + len(path) - 1 + depth])
        self.length += len(path) - 1
        self.reach[sink] = min(self.reach.get(sink, at + len(path)), at + len(path) - 1)

    def tree(self, colour: int, cost: int) -> Routed:
        reach = tuple(self.reach[sink] for sink in sorted(self.reach))
        return Routed(colour, cost, self.cells, self.inputs, self.outputs, reach, self.length)
