"""Wire cost: weighted Manhattan distance between the ends of bundles.

A bundle is represented by its first and last lane, each with half of the lanes as weight. So a kernel that is turned
the wrong way round, which would cross all lanes of a bundle, costs more than one that keeps their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.floorplan import Footprint, Net, Placed

Pin = tuple[int, int, int]
"""(kernel index, local col, local row)."""


@dataclass(frozen=True)
class Wire:
    """`weight` lanes between two routers of two kernels."""

    source: Pin
    sink: Pin
    weight: int


def wires(kernels: Sequence[Footprint], nets: Sequence[Net]) -> list[Wire]:
    """The first and the last lane of every net, once for every sink."""
    found = []
    for net in nets:
        source, port = net.source
        starts = kernels[source].outputs[port]
        for sink, port in net.sinks:
            ends = kernels[sink].inputs[port]
            for i, weight in ((0, (len(starts) + 1) // 2), (-1, len(starts) // 2)):
                if weight:
                    a, b = starts[i], ends[i]
                    found.append(Wire((source, a.col, a.row), (sink, b.col, b.row), weight))
    return found


def cost(kernels: Sequence[Footprint], placed: Sequence[Placed], wiring: Sequence[Wire]) -> int:
    """Sum over all wires of weight times Manhattan distance, in lane-hops."""
    total = 0
    for wire in wiring:
        (a, *source), (b, *sink) = wire.source, wire.sink
        ax, ay = placed[a].at(kernels[a], *source)
        bx, by = placed[b].at(kernels[b], *sink)
        total += wire.weight * (abs(ax - bx) + abs(ay - by))
    return total
