"""gate and switch: the ends of a set of kernels that several layers share, one core per lane.

The schedule is static. Of every token the gate takes one copy from outside, then those that the switch sends back; the
switch sends all back but the last, which goes on. So neither looks at a word to know where it goes, and one token makes
its way after another: what a core sends and receives for a token is the same for every token.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

from compiler.floorplan import Lane
from compiler.kernels.base import CHAIN_OUT, SECOND_IN, STREAM_IN, STREAM_OUT, tap, vector
from compiler.kernels.builder import CoreBuilder
from compiler.kernels.line import Line
from runtime.isa import Dtype, Program
from runtime.target import Target


@dataclass(frozen=True)
class _End(Line):
    """Words pass through a core as they come."""

    passes: int

    def role(self, r: int, c: int) -> Hashable:
        return self.blocks.size(r)

    def latency(self, target: Target) -> int:
        """Of one pass."""
        return target.activation_cycles + vector(1 + self.blocks.block, target)


@dataclass(frozen=True)
class Gate(_End):
    """One token from `x`, then passes-1 from `back`, all to `y`."""

    kind = "gate"

    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        lanes = tuple(tap(0, r) for r in range(self.rows))
        return {"x": lanes, "back": lanes}

    def port_queues(self) -> dict[str, int]:
        return {"x": STREAM_IN, "back": SECOND_IN, "y": STREAM_OUT}

    def times(self, port: str) -> int:
        return {"x": 1, "back": self.passes - 1, "y": self.passes}[port]

    @lru_cache(maxsize=4)  # noqa: B019 - kernels are small and frozen
    def program(self, role: int) -> Program:
        words = 1 + role
        b = CoreBuilder(f"gate.n{role}.x{self.passes}")
        b.name_queues({STREAM_IN: "x", SECOND_IN: "back"}, {STREAM_OUT: "y"})
        with b.task():
            b.mov(b.put(STREAM_OUT, words, Dtype.I32), b.take(STREAM_IN, words, Dtype.I32))
            with b.loop(self.passes - 1):
                b.mov(b.put(STREAM_OUT, words, Dtype.I32), b.take(SECOND_IN, words, Dtype.I32))
        return b.program()


@dataclass(frozen=True)
class Switch(_End):
    """passes-1 tokens from `x` to `back`, then one to `y`."""

    kind = "switch"

    def outputs(self) -> dict[str, tuple[Lane, ...]]:
        lanes = tuple(Lane(0, r) for r in range(self.rows))
        return {"y": lanes, "back": lanes}

    def port_queues(self) -> dict[str, int]:
        return {"x": STREAM_IN, "y": STREAM_OUT, "back": CHAIN_OUT}

    def times(self, port: str) -> int:
        return {"x": self.passes, "back": self.passes - 1, "y": 1}[port]

    @lru_cache(maxsize=4)  # noqa: B019 - kernels are small and frozen
    def program(self, role: int) -> Program:
        words = 1 + role
        b = CoreBuilder(f"switch.n{role}.x{self.passes}")
        b.name_queues({STREAM_IN: "x"}, {STREAM_OUT: "y", CHAIN_OUT: "back"})
        with b.task():
            with b.loop(self.passes - 1):
                b.mov(b.put(CHAIN_OUT, words, Dtype.I32), b.take(STREAM_IN, words, Dtype.I32))
            b.mov(b.put(STREAM_OUT, words, Dtype.I32), b.take(STREAM_IN, words, Dtype.I32))
        return b.program()
