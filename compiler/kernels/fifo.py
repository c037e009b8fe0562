"""fifo: holds up to `tokens` tokens per lane while a longer branch works on them.

Two tasks share a ring in the core's memory: one fills it from the input, the other drains it to the output.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

from compiler.kernels.base import STREAM_IN, STREAM_OUT
from compiler.kernels.builder import CoreBuilder
from compiler.kernels.line import Line
from runtime.isa import Dtype, Program
from runtime.target import Target


@dataclass(frozen=True)
class Fifo(Line):
    """A stream delayed, unchanged; capacity in tokens, beyond what the wires hold."""

    kind = "fifo"
    tokens: int

    def role(self, r: int, c: int) -> Hashable:
        return self.blocks.size(r)

    @lru_cache(maxsize=4)  # noqa: B019 - kernels are small and frozen
    def program(self, role: int) -> Program:
        words = 1 + role
        b = CoreBuilder(f"fifo.n{role}.t{self.tokens}")
        ring = b.fifo("ring", self.tokens * words)
        b.name_queues({STREAM_IN: "x"}, {STREAM_OUT: "y"})
        with b.task("fill"):
            b.mov(b.pipe(ring, words), b.take(STREAM_IN, words, Dtype.I32))
        with b.task("drain"):
            b.mov(b.put(STREAM_OUT, words, Dtype.I32), b.pipe(ring, words))
        return b.program()

    def interval(self, target: Target) -> int:
        """Words go in and out in turn, but while the task that fills begins anew, the other has emptied the ring."""
        return target.activation_cycles + target.vector_overhead_cycles + 1 + 2 * (1 + self.blocks.block)

    def latency(self, target: Target) -> int:
        return 2 * (1 + self.blocks.block) + 1
