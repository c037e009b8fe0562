"""norm: LayerNorm over a line of lanes.

Every core computes the mean and the sum of squared deviations of its block; a chain down the line merges the pairs
(Chan, Golub, LeVeque 1983: stable, no difference of large sums); the last core broadcasts mean and 1/sqrt(var + eps)
back, and every core scales its block. Two tasks share the work, so that a core begins the next token while the chain
is under way: one takes a block, keeps it in a FIFO of `tokens` tokens and feeds the chain, the other scales.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from compiler.floorplan import InternalRoute
from compiler.kernels.base import (
    BROADCAST_COLOUR,
    BROADCAST_IN,
    BROADCAST_OUT,
    CHAIN_IN,
    CHAIN_OUT,
    STREAM_IN,
    STREAM_OUT,
    Binding,
    Rect,
    begun,
    chain_bindings,
    chain_south,
    hop,
    vector_init,
)
from compiler.kernels.builder import Array, CoreBuilder
from compiler.kernels.line import Line
from runtime.geometry import NORTH, RAMP, SOUTH, bit
from runtime.image import Init
from runtime.isa import Const, Dtype, Program
from runtime.target import Target
from runtime.timing import task_work


@dataclass(frozen=True)
class Role:
    first: bool
    last: bool
    n: int


@dataclass(frozen=True)
class Norm(Line):
    """y = (x - mean) / sqrt(var + epsilon) * scale + bias over all features; scale and bias are resources."""

    kind = "norm"
    epsilon: float
    scale: str
    bias: str
    tokens: int = 2

    def routes(self) -> tuple[InternalRoute, ...]:
        last = self.rows - 1
        if last == 0:
            return ()
        broadcast = [InternalRoute(0, last, 1, 1, BROADCAST_COLOUR, bit(RAMP), bit(NORTH), 2)]
        if last > 1:
            both = bit(NORTH) | bit(RAMP)
            broadcast.append(InternalRoute(0, 1, 1, last - 1, BROADCAST_COLOUR, bit(SOUTH), both, 2))
        broadcast.append(InternalRoute(0, 0, 1, 1, BROADCAST_COLOUR, bit(SOUTH), bit(RAMP)))
        return (*chain_south(self.rows, 1, 2), *broadcast)

    def bindings(self, r: int, c: int) -> tuple[Binding, ...]:
        if self.rows == 1:
            return ()
        ends = Binding("out", BROADCAST_OUT, BROADCAST_COLOUR), Binding("in", BROADCAST_IN, BROADCAST_COLOUR)
        return (*chain_bindings(r, self.rows), ends[0] if r == self.rows - 1 else ends[1])

    def role(self, r: int, c: int) -> Hashable:
        return Role(r == 0, r == self.rows - 1, self.blocks.size(r))

    @lru_cache(maxsize=8)  # noqa: B019 - kernels are small and frozen
    def program(self, role: Role) -> Program:
        ends = ("first." if role.first else "") + ("last." if role.last else "")
        b = CoreBuilder(f"norm.{ends}n{role.n}.t{self.tokens}")
        held = b.fifo("held", self.tokens * (1 + role.n))
        inputs, outputs = {STREAM_IN: "x"}, {STREAM_OUT: "y"}
        if not role.first:
            inputs[CHAIN_IN] = "stats"
        if not role.last:
            inputs[BROADCAST_IN] = "result"
            outputs[CHAIN_OUT] = "stats"
        elif not role.first:
            outputs[BROADCAST_OUT] = "result"
        b.name_queues(inputs, outputs)
        result = b.fifo("result", 2 * self.tokens) if role.last else None
        self._measure(b, role, held, result)
        self._scale(b, role, held, result)
        return b.program()

    def _measure(self, b: CoreBuilder, role: Role, held: int, result: int | None) -> None:
        """Task one: the block into the FIFO, its stats into the chain; the last core finds the result."""
        header = b.scalar("header", Dtype.I32)
        x = b.array("x", "buffer", Dtype.F32, role.n)
        stats = b.array("stats", "buffer", Dtype.F32, 2)  # mean, sum of squared deviations; at last mean, 1/deviation
        with b.task("measure"):
            b.mov(header, b.take(STREAM_IN, 1, Dtype.I32))
            b.mov(b.pipe(held, 1), header)
            b.mov(x.all, b.take(STREAM_IN, role.n))
            b.mov(b.pipe(held, role.n, Dtype.F32), x.all)
            self._local_stats(b, x, stats)
            if not role.first:
                self._merge(b, stats)
            if result is None:
                b.mov(b.put(CHAIN_OUT, 2), stats.all)
                return
            deviation = stats.at(1)
            b.binary("mul", deviation, deviation, Const(float(np.float32(1 / self.blocks.features))))
            b.binary("add", deviation, deviation, Const(self.epsilon))
            b.map("rsqrt", deviation, deviation)
            b.mov(b.pipe(result, 2, Dtype.F32), stats.all)
            if not role.first:
                b.mov(b.put(BROADCAST_OUT, 2), stats.all)

    @staticmethod
    def _scale(b: CoreBuilder, role: Role, held: int, result: int | None) -> None:
        """Task two: the block out of the FIFO, scaled with the result for the whole token."""
        header = b.scalar("header2", Dtype.I32)
        y = b.array("y", "buffer", Dtype.F32, role.n)
        stats = b.array("stats2", "buffer", Dtype.F32, 2)
        scale = b.array("scale", "weights", Dtype.F32, role.n)
        bias = b.array("bias", "weights", Dtype.F32, role.n)
        with b.task("scale"):
            b.mov(header, b.pipe(held, 1))
            b.mov(stats.all, b.take(BROADCAST_IN, 2) if result is None else b.pipe(result, 2, Dtype.F32))
            b.binary("sub", y.all, b.pipe(held, role.n, Dtype.F32), stats.at(0))
            b.binary("mul", y.all, y.all, stats.at(1))
            b.binary("mul", y.all, y.all, scale.all)
            b.mov(b.put(STREAM_OUT, 1, Dtype.I32), header)
            b.binary("add", b.put(STREAM_OUT, role.n), y.all, bias.all)

    @staticmethod
    def _local_stats(b: CoreBuilder, x: Array, stats: Array) -> None:
        """Mean and sum of squared deviations of the core's own block."""
        square = b.array("square", "buffer", Dtype.F32, x.count)
        mean, spread = stats.at(0), stats.at(1)
        b.fill(stats.all, 0.0)
        b.reduce("rsum", mean, x.all)
        b.binary("mul", mean, mean, Const(float(np.float32(1 / x.count))))
        b.binary("sub", square.all, x.all, mean)
        b.binary("mul", square.all, square.all, square.all)
        b.reduce("rsum", spread, square.all)

    @staticmethod
    def _merge(b: CoreBuilder, stats: Array) -> None:
        """Combine the stats of all lanes above with the core's own.

        With n_a elements above, n_b here and d = mean_b - mean_a: mean = mean_a + d * n_b/(n_a+n_b), and
        M2 = M2_a + M2_b + d*d * n_a*n_b/(n_a+n_b).
        """
        above = b.array("above", "buffer", Dtype.F32, 2)
        merge = b.array("merge", "constants", Dtype.F32, 2)  # n_b/(n_a+n_b), n_a*n_b/(n_a+n_b)
        delta, step = b.scalar("delta"), b.scalar("step")
        mean, spread = stats.at(0), stats.at(1)
        b.mov(above.all, b.take(CHAIN_IN, 2))
        b.binary("sub", delta, mean, above.at(0))
        b.binary("mul", step, delta, merge.at(0))
        b.binary("add", mean, above.at(0), step)
        b.binary("mul", delta, delta, delta)
        b.binary("add", spread, spread, above.at(1))
        b.fmac(spread, delta, merge.at(1))

    def inits(self, role: Role, rect: Rect, program: Program) -> Iterator[Init]:
        block = self.blocks.block
        yield vector_init(program, "scale", Dtype.F32, rect, self.scale, role.n, per_row=block)
        yield vector_init(program, "bias", Dtype.F32, rect, self.bias, role.n, per_row=block)
        if not role.first:
            yield vector_init(program, "merge", Dtype.F32, rect, "merge", 2, per_row=2)

    def constants(self) -> Mapping[str, np.ndarray[Any, Any]]:
        above = np.array([self.blocks.start(r) for r in range(self.rows)], np.float64)
        own = np.array([self.blocks.size(r) for r in range(self.rows)], np.float64)
        return {"merge": np.stack([own / (above + own), above * own / (above + own)], axis=1).astype(np.float32)}

    def latency(self, target: Target) -> int:
        """The stats of a block, then through the chain, the result back to all, and the block scaled."""
        first, last = (self.program(Role(r == 0, r == self.rows - 1, self.blocks.block)) for r in (0, self.rows - 1))
        measure = task_work(first.tasks[0], target).serial - begun(target)
        if self.rows == 1:
            return math.ceil(measure + task_work(last.tasks[1], target).serial)
        one = target.vector_overhead_cycles + 1
        step = 7 * one + 2 + hop(target)  # six instructions on one element, then two words to the next
        result = 2 * one + target.vector_overhead_cycles + target.divide_cycles + 2 * one + 2
        back = self.rows * target.hop_cycles + 2 * target.ramp_cycles
        scale = task_work(last.tasks[1], target).serial - target.activation_cycles
        return math.ceil(measure + (self.rows - 1) * step + result + back + scale)

    def layer_cycles(self, target: Target) -> int:
        return 2 * target.index_cycles  # scale and bias

    def needed_tokens(self, interval: int, target: Target) -> int:
        """Tokens a core holds while the chain and the broadcast are under way, at one token in `interval` cycles."""
        return -(-(begun(target) + self.latency(target)) // interval) + 1
