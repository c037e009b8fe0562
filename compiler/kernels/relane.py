"""relane: the same stream over another number of lanes, by merging `ratio` neighbouring lanes or splitting each.

A column of cores, one per lane of the finer side. Merging, every core of a group passes on what came from the cores
above it, then its own block; splitting, every core keeps the first block it hears and passes on the rest. Any change of
lanes is a merge to their common divisor followed by a split.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

from compiler.floorplan import InternalRoute, Lane
from compiler.kernels.base import (
    CHAIN_COLOURS,
    CHAIN_IN,
    CHAIN_OUT,
    STREAM_IN,
    STREAM_OUT,
    Binding,
    Kernel,
    hop,
    memory_bytes,
    tap,
    vector,
)
from compiler.kernels.builder import CoreBuilder
from runtime.geometry import NORTH, RAMP, SOUTH, bit
from runtime.isa import Dtype, Program
from runtime.stream import Blocks
from runtime.target import Target


@dataclass(frozen=True)
class Role:
    before: int  # elements of the group above this core
    own: int
    after: int  # elements of the group below this core


@dataclass(frozen=True)
class Relane(Kernel):
    """One side has the lanes of `blocks`, the other `ratio` times fewer; `merge` says which way."""

    kind = "relane"
    blocks: Blocks  # of the finer side
    ratio: int
    merge: bool

    @property
    def rows(self) -> int:
        return self.blocks.lanes

    @property
    def cols(self) -> int:
        return 1

    @property
    def groups(self) -> list[range]:
        """The cores of each coarse lane."""
        return [range(r, min(r + self.ratio, self.rows)) for r in range(0, self.rows, self.ratio)]

    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        heads = range(self.rows) if self.merge else (group[0] for group in self.groups)
        return {"x": tuple(tap(0, r) for r in heads)}

    def outputs(self) -> dict[str, tuple[Lane, ...]]:
        ends = (group[-1] for group in self.groups) if self.merge else range(self.rows)
        return {"y": tuple(Lane(0, r) for r in ends)}

    def routes(self) -> tuple[InternalRoute, ...]:
        routes = []
        for group in self.groups:
            for r in group[:-1]:
                colour = CHAIN_COLOURS[r % 2]
                routes.append(InternalRoute(0, r, 1, 1, colour, bit(RAMP), bit(SOUTH)))
                routes.append(InternalRoute(0, r + 1, 1, 1, colour, bit(NORTH), bit(RAMP)))
        return tuple(routes)

    def bindings(self, r: int, c: int) -> tuple[Binding, ...]:
        group = self.groups[r // self.ratio]
        bound = []
        if r > group[0]:
            bound.append(Binding("in", CHAIN_IN, CHAIN_COLOURS[(r - 1) % 2]))
        if r < group[-1]:
            bound.append(Binding("out", CHAIN_OUT, CHAIN_COLOURS[r % 2]))
        return tuple(bound)

    def role(self, r: int, c: int) -> Hashable:
        group, blocks = self.groups[r // self.ratio], self.blocks
        start, end = blocks.start(group[0]), blocks.start(group[-1]) + blocks.size(group[-1])
        return Role(blocks.start(r) - start, blocks.size(r), end - blocks.start(r) - blocks.size(r))

    @lru_cache(maxsize=64)  # noqa: B019 - kernels are small and frozen
    def program(self, role: Role) -> Program:
        return self._merging(role) if self.merge else self._splitting(role)

    def _merging(self, role: Role) -> Program:
        b = CoreBuilder(f"merge.{role.before}+{role.own}" + ("" if role.after else ".last"))
        header = b.scalar("header", Dtype.I32)
        x = b.array("x", "buffer", Dtype.F32, role.own)
        queue = CHAIN_OUT if role.after else STREAM_OUT
        b.name_queues(
            {STREAM_IN: "x"} | ({CHAIN_IN: "above"} if role.before else {}), {queue: "below" if role.after else "y"}
        )
        with b.task():
            b.mov(header, b.take(STREAM_IN, 1, Dtype.I32))
            b.mov(x.all, b.take(STREAM_IN, role.own))
            if not role.after:
                b.mov(b.put(queue, 1, Dtype.I32), header)
            if role.before:
                b.mov(b.put(queue, role.before), b.take(CHAIN_IN, role.before))
            b.mov(b.put(queue, role.own), x.all)
        return b.program()

    def _splitting(self, role: Role) -> Program:
        b = CoreBuilder(f"split.{role.own}+{role.after}" + ("" if role.before else ".first"))
        header = b.scalar("header", Dtype.I32)
        x = b.array("x", "buffer", Dtype.F32, role.own)
        queue = CHAIN_IN if role.before else STREAM_IN
        b.name_queues(
            {queue: "above" if role.before else "x"}, {STREAM_OUT: "y"} | ({CHAIN_OUT: "below"} if role.after else {})
        )
        with b.task():
            b.mov(header, b.take(queue, 1, Dtype.I32))
            b.mov(x.all, b.take(queue, role.own))
            if role.after:
                b.mov(b.put(CHAIN_OUT, 1, Dtype.I32), header)
                b.mov(b.put(CHAIN_OUT, role.after), b.take(queue, role.after))
            b.mov(b.put(STREAM_OUT, 1, Dtype.I32), header)
            b.mov(b.put(STREAM_OUT, role.own), x.all)
        return b.program()

    def memory(self, target: Target) -> int:
        """Bytes of the fullest core: the first, second or last of the first group; no other group is larger."""
        group = self.groups[0]
        rows = sorted({group[0], group[min(1, len(group) - 1)], group[-1]})
        return max(memory_bytes(self.program(self.role(r, 0)), target) for r in rows)

    def interval(self, target: Target) -> int:
        block = self.blocks.block
        return 2 * vector(1, target) + 2 * vector(block, target) + vector(block * (self.ratio - 1), target)

    def latency(self, target: Target) -> int:
        return self.interval(target) + (self.ratio - 1) * hop(target)
