"""join: two streams of equal lanes, combined element by element."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

from compiler.floorplan import Lane
from compiler.kernels.base import SECOND_IN, STREAM_IN, STREAM_OUT, begun, tap
from compiler.kernels.builder import CoreBuilder
from compiler.kernels.line import Line
from runtime.isa import Dtype, Program
from runtime.target import Target


@dataclass(frozen=True)
class Join(Line):
    """y = a `fn` b; fn is a binary operation of the machine."""

    kind = "join"
    fn: str

    def inputs(self) -> dict[str, tuple[Lane, ...]]:
        lanes = tuple(tap(0, r) for r in range(self.rows))
        return {"a": lanes, "b": lanes}

    def port_queues(self) -> dict[str, int]:
        return {"a": STREAM_IN, "b": SECOND_IN, "y": STREAM_OUT}

    def role(self, r: int, c: int) -> Hashable:
        return self.blocks.size(r)

    @lru_cache(maxsize=4)  # noqa: B019 - kernels are small and frozen
    def program(self, role: int) -> Program:
        b = CoreBuilder(f"join.{self.fn}.n{role}")
        header = b.scalar("header", Dtype.I32)
        x = b.array("a", "buffer", Dtype.F32, role)
        b.name_queues({STREAM_IN: "a", SECOND_IN: "b"}, {STREAM_OUT: "y"})
        with b.task():
            b.mov(header, b.take(STREAM_IN, 1, Dtype.I32))
            b.mov(x.all, b.take(STREAM_IN, role))
            # Both headers are the same; the second is dropped.
            b.mov(header, b.take(SECOND_IN, 1, Dtype.I32))
            b.mov(b.put(STREAM_OUT, 1, Dtype.I32), header)
            b.binary(self.fn, b.put(STREAM_OUT, role), x.all, b.take(SECOND_IN, role))
        return b.program()

    def latency(self, target: Target) -> int:
        return self.interval(target) - begun(target)
