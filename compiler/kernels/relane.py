"""relane: the same stream over another number of lanes, by merging `ratio` neighbouring lanes or splitting each.

A row of cores, one per lane of the finer side, in groups of `ratio`. Merging, every core of a group passes on what came
from the cores before it, then its own block, which it has taken off its sender's hands before: what the words go to may
be slow (the host's channels are), and the sender has the next token to work on. Splitting, every core keeps the first
block it hears and passes on the rest. Any change of lanes is a merge to their common divisor followed by a split.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from compiler.floorplan import InternalRoute, Lane
from compiler.kernels.base import (
    CHAIN_IN,
    CHAIN_OUT,
    STREAM_IN,
    STREAM_OUT,
    Binding,
    Kernel,
    begun,
    chain_bindings,
    chain_east,
    hop,
    tap,
)
from compiler.kernels.builder import CoreBuilder
from runtime.isa import Dtype, Program
from runtime.stream import Blocks
from runtime.target import Target
from runtime.timing import task_work


@dataclass(frozen=True)
class Role:
    before: int  # elements of the group before this core
    own: int
    after: int  # elements of the group after this core


@dataclass(frozen=True)
class Relane(Kernel):
    """One side has the lanes of `blocks`, the other `ratio` times fewer; `merge` says which way."""

    kind = "relane"
    blocks: Blocks  # of the finer side
    ratio: int
    merge: bool

    @property
    def rows(self) -> int:
        return 1

    @property
    def cols(self) -> int:
        return self.blocks.lanes

    @property
    def groups(self) -> list[range]:
        """The cores of each coarse lane."""
        return [range(c, min(c + self.ratio, self.cols)) for c in range(0, self.cols, self.ratio)]

    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        heads = range(self.cols) if self.merge else (group[0] for group in self.groups)
        return {"x": tuple(tap(c, 0) for c in heads)}

    def outputs(self) -> dict[str, tuple[Lane, ...]]:
        ends = (group[-1] for group in self.groups) if self.merge else range(self.cols)
        return {"y": tuple(Lane(c, 0) for c in ends)}

    def routes(self) -> tuple[InternalRoute, ...]:
        """A core passes on what it has heard before, merging, or what is still to be heard, splitting."""
        block = self.blocks.block
        growing = [1 + block * (i + 1) for i in range(self.ratio)]
        routes: list[InternalRoute] = []
        for group in self.groups:
            links = growing[: len(group) - 1] or [0]
            routes += chain_east(1, len(group), links if self.merge else links[::-1], 0, group[0])
        return tuple(routes)

    def bindings(self, r: int, c: int) -> tuple[Binding, ...]:
        group = self.groups[c // self.ratio]
        return chain_bindings(c - group[0], len(group))

    def role(self, r: int, c: int) -> Hashable:
        group, blocks = self.groups[c // self.ratio], self.blocks
        start, end = blocks.start(group[0]), blocks.start(group[-1]) + blocks.size(group[-1])
        return Role(blocks.start(c) - start, blocks.size(c), end - blocks.start(c) - blocks.size(c))

    @lru_cache(maxsize=64)  # noqa: B019 - kernels are small and frozen
    def program(self, role: Role) -> Program:
        return self._merging(role) if self.merge else self._splitting(role)

    def _merging(self, role: Role) -> Program:
        b = CoreBuilder(f"merge.{role.before}+{role.own}" + ("" if role.after else ".last"))
        header = b.scalar("header", Dtype.I32)
        queue = CHAIN_OUT if role.after else STREAM_OUT
        held = b.fifo("held", 1 + role.own)
        b.name_queues(
            {STREAM_IN: "x"} | ({CHAIN_IN: "before"} if role.before else {}), {queue: "after" if role.after else "y"}
        )
        # The later task goes first: what passes is not held up by what is taken for the next token.
        with b.task("take"):
            b.mov(b.pipe(held, 1 + role.own), b.take(STREAM_IN, 1 + role.own, Dtype.I32))
        with b.task("pass"):
            b.mov(header if role.after else b.put(queue, 1, Dtype.I32), b.pipe(held, 1))
            if role.before:
                b.mov(b.put(queue, role.before), b.take(CHAIN_IN, role.before))
            b.mov(b.put(queue, role.own), b.pipe(held, role.own, Dtype.F32))
        return b.program()

    def _splitting(self, role: Role) -> Program:
        b = CoreBuilder(f"split.{role.own}+{role.after}" + ("" if role.before else ".first"))
        x = b.array("x", "buffer", Dtype.I32, 1 + role.own)  # with the header
        queue = CHAIN_IN if role.before else STREAM_IN
        b.name_queues(
            {queue: "before" if role.before else "x"}, {STREAM_OUT: "y"} | ({CHAIN_OUT: "after"} if role.after else {})
        )
        with b.task():
            b.mov(x.all, b.take(queue, 1 + role.own, Dtype.I32))
            if role.after:
                # Few instructions: the core before holds about as many words as come while these are set up.
                b.mov(b.put(CHAIN_OUT, 1, Dtype.I32), x.at(0))
                b.mov(b.put(CHAIN_OUT, role.after), b.take(queue, role.after))
            b.mov(b.put(STREAM_OUT, 1 + role.own, Dtype.I32), x.all)
        return b.program()

    def telling_roles(self) -> Iterable[Hashable]:
        """The first, second and last of the first group; no other group is larger."""
        group = self.groups[0]
        return dict.fromkeys(self.role(0, c) for c in (group[0], group[min(1, len(group) - 1)], group[-1]))

    def latency(self, target: Target) -> int:
        """Merging, a core sends its own block when all before it are through; the first one takes most of its block
        word by word as it passes it on. Splitting, a core takes its own block before it passes any on."""
        block, overhead = self.blocks.block, target.vector_overhead_cycles
        if self.merge:
            step = overhead + block + hop(target) + 1
            return 2 + overhead + block + max(0, block - overhead + 1) + (self.ratio - 1) * step
        step = block + 2 * overhead + 2 + hop(target)
        last = self.program(self.role(0, self.groups[0][-1])).tasks[0]
        return math.ceil(task_work(last, target).serial) - begun(target) + (self.ratio - 1) * step
