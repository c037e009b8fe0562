"""port: where a stream meets the host, a column of routers at the west edge of the usable rectangle, without cores."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from compiler.floorplan import Footprint, Lane
from compiler.kernels.base import STREAM_OUT, Kernel
from runtime.geometry import WEST
from runtime.isa import Program
from runtime.stream import Blocks
from runtime.target import Target


def channel_cycles(words: int, target: Target) -> int:
    """Cycles a host channel takes for so many words."""
    return math.ceil(words / target.host_words_per_cycle)


def host_wait(block: int, target: Target) -> int:
    """Cycles of every token that a core whose block goes straight to a host channel waits for that while it sends.

    The last words wait in its queue and router, those before them go when the channel takes one. A relane takes the
    block off its hands.
    """
    words, room = 1 + block, target.output_depth[STREAM_OUT] + target.router_depth
    return max(0, channel_cycles(words - room, target) - words) if words > room else 0


@dataclass(frozen=True)
class Port(Kernel):
    """Graph input (`direction` "in") or output ("out") `name`: a block of features per host channel."""

    kind = "port"
    name: str
    direction: str
    blocks: Blocks
    pitch: int = 1  # rows from one lane to the next; negative: lanes run north

    @property
    def rows(self) -> int:
        return (self.blocks.lanes - 1) * abs(self.pitch) + 1

    @property
    def cols(self) -> int:
        return 1

    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        return {} if self.direction == "in" else {"x": self._lanes}

    def outputs(self) -> dict[str, tuple[Lane, ...]]:
        return {"y": self._lanes} if self.direction == "in" else {}

    def roles(self) -> list[list[Hashable]]:
        return []

    def role(self, r: int, c: int) -> Hashable:
        raise KeyError("a port has no cores")

    def program(self, role: Any) -> Program:
        raise KeyError("a port has no cores")

    def memory(self, target: Target) -> int:
        return 0

    def footprint(self, name: str) -> Footprint:
        return Footprint(name, 1, self.rows, self.inputs(), self.outputs(), edge="west")

    def interval(self, target: Target) -> int:
        return channel_cycles(1 + self.blocks.block, target)

    def latency(self, target: Target) -> int:
        return self.interval(target)

    @property
    def _lanes(self) -> tuple[Lane, ...]:
        rows = range(0, self.rows, abs(self.pitch))
        return tuple(Lane(0, r, outside=WEST) for r in (rows if self.pitch > 0 else reversed(rows)))
