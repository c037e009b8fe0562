"""map: one elementwise function of a stream, or its combination with a constant vector."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from compiler.kernels.base import STREAM_IN, STREAM_OUT, Rect, begun, vector_init
from compiler.kernels.builder import CoreBuilder
from compiler.kernels.line import Line
from runtime.image import Init
from runtime.isa import Dtype, Program
from runtime.target import Target


@dataclass(frozen=True)
class Map(Line):
    """y = fn(x), or with `constant` (a resource of one element or one per feature) y = x `fn` constant.

    `swapped`: y = constant `fn` x.
    """

    kind = "map"
    fn: str
    constant: str | None = None
    constant_size: int = 0
    swapped: bool = False

    def role(self, r: int, c: int) -> Hashable:
        return self.blocks.size(r)

    @lru_cache(maxsize=4)  # noqa: B019 - kernels are small and frozen
    def program(self, role: int) -> Program:
        b = CoreBuilder(f"map.{self.fn}.n{role}")
        header = b.scalar("header", Dtype.I32)
        x = b.array("x", "buffer", Dtype.F32, role)
        k = b.array("constant", "weights", Dtype.F32, role) if self.constant else None
        b.name_queues({STREAM_IN: "x"}, {STREAM_OUT: "y"})
        with b.task():
            b.mov(header, b.take(STREAM_IN, 1, Dtype.I32))
            b.mov(x.all, b.take(STREAM_IN, role))
            b.mov(b.put(STREAM_OUT, 1, Dtype.I32), header)
            y = b.put(STREAM_OUT, role)
            if k is None:
                b.map(self.fn, y, x.all)
            elif self.swapped:
                b.binary(self.fn, y, k.all, x.all)
            else:
                b.binary(self.fn, y, x.all, k.all)
        return b.program()

    def inits(self, role: int, rect: Rect, program: Program) -> Iterator[Init]:
        if self.constant is None:
            return
        if self.constant_size == 1:
            one = vector_init(program, "constant", Dtype.F32, rect, self.constant, role)
            yield Init(**{**vars(one), "stride": (0, 0)})
        else:
            yield vector_init(program, "constant", Dtype.F32, rect, self.constant, role, per_row=self.blocks.block)

    def layer_cycles(self, target: Target) -> int:
        return target.index_cycles if self.constant else 0

    def latency(self, target: Target) -> int:
        return self.interval(target) - begun(target)
