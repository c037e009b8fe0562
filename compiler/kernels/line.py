"""Kernels that are one column of cores, a core per lane: what join, map, fifo and norm share."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.floorplan import Lane
from compiler.kernels.base import Kernel, tap
from runtime.stream import Blocks


@dataclass(frozen=True)
class Line(Kernel):
    """A column of cores, one per lane; lane l of every port is core l."""

    blocks: Blocks  # how the features lie on the lanes

    @property
    def rows(self) -> int:
        return self.blocks.lanes

    @property
    def cols(self) -> int:
        return 1

    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        return {"x": tuple(tap(0, r) for r in range(self.rows))}

    def outputs(self) -> dict[str, tuple[Lane, ...]]:
        return {"y": tuple(Lane(0, r) for r in range(self.rows))}
